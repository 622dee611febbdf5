"""Rules as they are written, to `Rule`s: every error of a file at once, each with its path.

rules:
  - id: cart-mail
    on: {segment: abandoned-cart, transition: entered}
    channel: email
    target: {trait: email}
    template: cart-mail            # templates/cart-mail.txt, or {subject: …, text: …, html: …} in place
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import urlsplit

from actions.errors import RuleErrors
from actions.rules import Rule, Template, is_address
from actions.templates import TemplateError, check_template
from schemas.deliveries import CHANNELS, Channel
from schemas.instants import DURATION_MS_MAX, parse_duration
from schemas.transitions import CAUSES, Cause, Direction
from segments.errors import DefinitionErrors
from segments.read import read_text

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
SECRET = re.compile(r"[A-Z0-9][A-Z0-9_]{0,63}", re.ASCII)
SUBJECT_CHARACTERS_MAX = 1000
URL_CHARACTERS_MAX = 2000
TRAITS_MAX = 100
MAX_AGE = "1d"
CAUSES_BY_DEFAULT: tuple[Cause, ...] = ("event", "timer")
_DESCRIPTIVE = ("name", "description", "tags", "owner")
_KEYS = ("id", "on", "channel", "target", "max_age", "traits", *_DESCRIPTIVE)
_CHANNEL_KEYS = {"webhook": ("secret",), "email": ("template",)}


def load_rules(text: str, name: str = "rules", templates: Path | None = None) -> tuple[Rule, ...]:
    """The rules in one YAML or JSON file; its other keys are not looked at. `templates`: directory of those named.

    Raises `RuleErrors` with every error of the file.
    """
    try:
        document = read_text(text, name)
    except DefinitionErrors as error:
        raise RuleErrors(error.errors) from None
    if not isinstance(document, dict):
        raise RuleErrors([f"{name}: expected a mapping, got {_short(document)} - at $"])
    if "rules" not in document:
        return ()
    written = document["rules"]
    if not isinstance(written, list) or not written:
        raise RuleErrors([f"{name}: expected a list of rules, got {_short(written)} - at $.rules"])
    rules, errors, seen = [], [], set()
    for at, body in enumerate(written):
        reader = _Reader(body, f"{name}: ", f"$.rules[{at}]", templates)
        rule = reader.rule()
        if rule is not None and rule.id in seen:
            errors.append(f"rule {rule.id!r}: expected an id of its own, got it twice - at $.id")
        elif rule is not None:
            seen.add(rule.id)
            rules.append(rule)
        errors.extend(reader.errors)
    if errors:
        raise RuleErrors(errors)
    return tuple(rules)


def rule_of(body: Mapping[str, Any]) -> Rule:
    """The rule of a definition record's body, whose templates are in place; raises `RuleErrors`."""
    reader = _Reader(dict(body), "rule: ", "$", None)
    rule = reader.rule()
    if rule is None:
        raise RuleErrors(reader.errors)
    return rule


def check_segments(rules: Iterable[Rule], segments: Iterable[str]) -> list[str]:
    """Errors of rules that listen to a segment which is none of `segments`."""
    known = sorted(segments)
    return [
        f"rule {rule.id!r}: expected a segment in force, got {rule.segment!r}{_close(rule.segment, known)}"
        " - at $.on.segment"
        for rule in rules
        if rule.segment not in known
    ]


class _Reader:
    """Reads one rule; what is wrong with it gathers in `errors`."""

    def __init__(self, body: Any, file: str, path: str, templates: Path | None) -> None:
        self.errors: list[str] = []
        self._body = body
        self._where, self._root = file, path
        self._templates = templates

    def rule(self) -> Rule | None:
        """The rule, or None with something in `errors`."""
        if not self._is_mapping(self._body, ""):
            return None
        id = self._body.get("id")
        if not isinstance(id, str) or not ID.fullmatch(id):
            self._error("an id of small letters, digits, `.`, `_` and `-`, 64 at most", id, ".id")
            id = ""
        else:
            self._where, self._root = f"rule {id!r}: ", "$"
        channel = self._choice(self._body, "channel", CHANNELS, "")
        self._keys(self._body, (*_KEYS, *_CHANNEL_KEYS.get(channel, ("secret", "template"))), "")
        self._descriptive()
        segment, transition, causes = self._on()
        target, target_trait = self._target(channel)
        secret = self._secret() if channel == "webhook" else None
        template, template_body, asked = self._template() if channel == "email" else (None, None, frozenset())
        traits = self._traits(asked)
        max_age_ms = self._duration("max_age", MAX_AGE)
        if self.errors:
            return None
        body = self._body if template_body is None else {**self._body, "template": template_body}
        return Rule(
            id=id,
            segment=segment,
            transition=transition,
            causes=causes,
            channel=cast(Channel, channel),
            target=target,
            target_trait=target_trait,
            traits=traits,
            max_age_ms=max_age_ms,
            secret=secret,
            template=template,
            body=body,
        )

    def _on(self) -> tuple[str, Direction, frozenset[Cause]]:
        on = self._body.get("on")
        if not self._is_mapping(on, ".on"):
            return "", "entered", frozenset()
        self._keys(on, ("segment", "transition", "causes"), ".on")
        segment = on.get("segment")
        if not isinstance(segment, str) or not ID.fullmatch(segment):
            self._error("the id of a segment", segment, ".on.segment")
            segment = ""
        direction = self._choice({"transition": "entered"} | on, "transition", get_args(Direction), ".on")
        causes = on.get("causes", list(CAUSES_BY_DEFAULT))
        if not isinstance(causes, list) or not causes:
            self._error("a list of causes", causes, ".on.causes")
            causes = []
        for at, cause in enumerate(causes):
            if cause not in CAUSES:
                self._error("one of " + " ".join(CAUSES), cause, f".on.causes[{at}]", CAUSES)
        return segment, cast(Direction, direction), frozenset(cause for cause in causes if cause in CAUSES)

    def _target(self, channel: str) -> tuple[str | None, str | None]:
        target = self._body.get("target")
        if channel == "webhook":
            problem = _url_problem(target)
            if problem is not None:
                self._error(problem, target, ".target")
            return target, None
        if isinstance(target, str):
            if channel == "email" and not is_address(target):
                self._error("an e-mail address, or {trait: …}", target, ".target")
            return target, None
        if not isinstance(target, dict):
            self._error("an e-mail address, or {trait: …}" if channel else "a target", target, ".target")
            return None, None
        self._keys(target, ("trait",), ".target")
        trait = target.get("trait")
        if not isinstance(trait, str) or not trait:
            self._error("the name of a trait", trait, ".target.trait")
        return None, trait

    def _secret(self) -> str:
        secret = self._body.get("secret")
        if not isinstance(secret, str) or not SECRET.fullmatch(secret):
            self._error("a NAME, whose secret stands in the environment as TIDEGATE_SECRET_NAME", secret, ".secret")
        return str(secret)

    def _template(self) -> tuple[Template | None, dict[str, str] | None, frozenset[str]]:
        written = self._body.get("template")
        path = ".template"
        if isinstance(written, str):
            written = self._template_file(written)
            if written is None:
                return None, None, frozenset()
        if not isinstance(written, dict):
            self._error("the name of a template, or {subject: …, text: …, html: …}", written, path)
            return None, None, frozenset()
        self._keys(written, ("subject", "text", "html"), path)
        asked: set[str] = set()
        for part in ("subject", "text", "html"):
            text = written.get(part)
            if text is None and part == "html" and part not in written:
                continue
            if not isinstance(text, str) or not text.strip():
                self._error("text", text, f"{path}.{part}")
                continue
            if part == "subject" and (len(text) > SUBJECT_CHARACTERS_MAX or "\n" in text.strip()):
                self._error(f"one line of at most {SUBJECT_CHARACTERS_MAX} characters", text, f"{path}.{part}")
            try:
                asked |= check_template(text)
            except TemplateError as error:
                self._say(str(error), f"{path}.{part}")
        if self.errors:
            return None, None, frozenset()
        return (
            Template(written["subject"].strip(), written["text"], written.get("html")),
            dict(written),
            frozenset(asked),
        )

    def _template_file(self, name: str) -> dict[str, str] | None:
        """`NAME.txt`: `Subject: …`, an empty line, the text; and, where there is one, `NAME.html`."""
        if not ID.fullmatch(name):
            self._error("the name of a template: small letters, digits, `.`, `_` and `-`", name, ".template")
            return None
        if self._templates is None:
            self._error("a template in place: {subject: …, text: …}", name, ".template")
            return None
        file = self._templates / f"{name}.txt"
        try:
            head, _, text = file.read_text("utf-8").partition("\n")
            html = self._templates / f"{name}.html"
            parts = {"html": html.read_text("utf-8")} if html.exists() else {}
        except FileNotFoundError:
            there = sorted(path.stem for path in self._templates.glob("*.txt"))
            self._say(f"expected a template file {str(file)!r}, got none{_close(name, there)}", ".template")
            return None
        except (OSError, UnicodeDecodeError) as error:
            self._say(f"expected a template in UTF-8 in {str(file)!r}, got {error}", ".template")
            return None
        if not head.startswith("Subject:"):
            self._say(f"expected `Subject: …` in the first line of {str(file)!r}, got {_short(head)}", ".template")
            return None
        return {"subject": head.removeprefix("Subject:").strip(), "text": text.lstrip("\n"), **parts}

    def _traits(self, asked: frozenset[str]) -> tuple[str, ...]:
        written = self._body.get("traits", [])
        if not isinstance(written, list) or not all(isinstance(trait, str) and trait for trait in written):
            self._error("a list of names of traits", written, ".traits")
            return ()
        traits = sorted({*written, *asked})
        if len(traits) > TRAITS_MAX:
            self._error(f"at most {TRAITS_MAX} traits, those of the template among them", len(traits), ".traits")
        return tuple(traits)

    def _descriptive(self) -> None:
        for key in ("name", "description", "owner"):
            if key in self._body and not isinstance(self._body[key], str):
                self._error("text", self._body[key], f".{key}")
        tags = self._body.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            self._error("a list of words", tags, ".tags")

    def _duration(self, key: str, default: str) -> int:
        text = self._body.get(key, default)
        duration_ms = parse_duration(text) if isinstance(text, str) else None
        if duration_ms is None or not 0 < duration_ms <= DURATION_MS_MAX:
            self._error("a duration such as 30m, 1d or 1d12h", text, f".{key}")
        return duration_ms or 0

    def _choice(self, mapping: dict[str, Any], key: str, choices: tuple[str, ...], path: str) -> str:
        found = mapping.get(key)
        if found in choices:
            return str(found)
        self._error(" or ".join(choices), found, f"{path}.{key}", choices)
        return ""

    def _is_mapping(self, value: Any, path: str) -> bool:
        if isinstance(value, dict):
            return True
        self._error("a mapping", value, path)
        return False

    def _keys(self, mapping: dict[str, Any], known: tuple[str, ...], path: str) -> None:
        for key in mapping:
            if key not in known:
                self._say(
                    f"unknown key {_short(key)}{_close(str(key), known)}, expected one of {' '.join(known)}", path
                )

    def _error(self, expected: str, found: Any, path: str, near: tuple[str, ...] = ()) -> None:
        close = _close(found, near) if isinstance(found, str) else ""
        self._say(f"expected {expected}, got {_short(found)}{close}", path)

    def _say(self, sentence: str, path: str) -> None:
        self.errors.append(f"{self._where}{sentence} - at {self._root}{path}")


def _url_problem(target: Any) -> str | None:
    """What a webhook's target should have been, None when it is all right."""
    if (
        not isinstance(target, str)
        or len(target) > URL_CHARACTERS_MAX
        or not target.isascii()
        or not target.isprintable()
    ):
        return f"a URL of at most {URL_CHARACTERS_MAX} printable ASCII characters"
    try:
        parts = urlsplit(target)
        _ = parts.port
    except ValueError:
        return "a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in target:
        return "a URL that begins with https:// or http:// and has a host"
    # a definition is readable to all who read the topic: what must stay secret stands in the environment
    return "a URL with no user or password in it" if "@" in parts.netloc else None


def _close(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
