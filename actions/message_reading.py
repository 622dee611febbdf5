"""The message of a rule, or of a step of a sequence, as it is written: channel, target, secret or template, traits."""

import re
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from actions.reader import ID, Reader, close, short
from actions.rules import Template, is_address
from actions.templates import TemplateError, check_template
from schemas.deliveries import CHANNELS, Channel

SECRET = re.compile(r"[A-Z0-9][A-Z0-9_]{0,63}", re.ASCII)
SUBJECT_CHARACTERS_MAX = 1000
URL_CHARACTERS_MAX = 2000
TRAITS_MAX = 100
_KEYS = ("channel", "target", "traits")
_CHANNEL_KEYS = {"webhook": ("secret",), "email": ("template",)}
_NO_TEMPLATE: tuple[None, None, frozenset[str]] = (None, None, frozenset())


@dataclass(frozen=True)
class Message:
    """A message, read; of use only where there was no error. `parts`: the template as data, None where there is none."""

    channel: Channel
    target: str | None
    target_trait: str | None
    traits: tuple[str, ...]
    secret: str | None
    template: Template | None
    parts: dict[str, str] | None


def read_message(reader: Reader, body: dict[str, Any], path: str, others: tuple[str, ...]) -> Message:
    """The message in `body`, in which `others` are the keys that are the caller's; what is wrong goes to `reader`."""
    channel = reader.choice(body, "channel", CHANNELS, path)
    reader.keys(body, (*others, *_KEYS, *_CHANNEL_KEYS.get(channel, ("secret", "template"))), path)
    target, target_trait = _target(reader, body.get("target"), channel, f"{path}.target")
    secret = _secret(reader, body.get("secret"), f"{path}.secret") if channel == "webhook" else None
    template, parts, asked = _NO_TEMPLATE
    if channel == "email":
        template, parts, asked = _template(reader, body.get("template"), f"{path}.template")
    traits = _traits(reader, body.get("traits", []), asked, f"{path}.traits")
    return Message(cast(Channel, channel), target, target_trait, traits, secret, template, parts)


def _target(reader: Reader, target: Any, channel: str, path: str) -> tuple[str | None, str | None]:
    if channel == "webhook":
        problem = _url_problem(target)
        if problem is not None:
            reader.error(problem, target, path)
        return target, None
    if isinstance(target, str):
        if channel == "email" and not is_address(target):
            reader.error("an e-mail address, or {trait: …}", target, path)
        return target, None
    if not isinstance(target, dict):
        reader.error("an e-mail address, or {trait: …}" if channel else "a target", target, path)
        return None, None
    reader.keys(target, ("trait",), path)
    trait = target.get("trait")
    if not isinstance(trait, str) or not trait:
        reader.error("the name of a trait", trait, f"{path}.trait")
    return None, trait


def _secret(reader: Reader, secret: Any, path: str) -> str:
    if not isinstance(secret, str) or not SECRET.fullmatch(secret):
        reader.error("a NAME, whose secret stands in the environment as TIDEGATE_SECRET_NAME", secret, path)
    return str(secret)


def _template(reader: Reader, written: Any, path: str) -> tuple[Template | None, dict[str, str] | None, frozenset[str]]:
    before = len(reader.errors)
    if isinstance(written, str):
        written = _template_file(reader, written, path)
        if written is None:
            return _NO_TEMPLATE
    if not isinstance(written, dict):
        reader.error("the name of a template, or {subject: …, text: …, html: …}", written, path)
        return _NO_TEMPLATE
    reader.keys(written, ("subject", "text", "html"), path)
    asked: set[str] = set()
    for part in ("subject", "text", "html"):
        if part != "html" or part in written:
            asked |= _part(reader, part, written.get(part), f"{path}.{part}")
    if len(reader.errors) > before:
        return _NO_TEMPLATE
    template = Template(written["subject"].strip(), written["text"], written.get("html"))
    return template, dict(written), frozenset(asked)


def _part(reader: Reader, part: str, text: Any, path: str) -> frozenset[str]:
    """The traits that a part of a template asks for."""
    if not isinstance(text, str) or not text.strip():
        reader.error("text", text, path)
        return frozenset()
    if part == "subject" and (len(text) > SUBJECT_CHARACTERS_MAX or "\n" in text.strip()):
        reader.error(f"one line of at most {SUBJECT_CHARACTERS_MAX} characters", text, path)
    try:
        return check_template(text)
    except TemplateError as error:
        reader.say(str(error), path)
        return frozenset()


def _template_file(reader: Reader, name: str, path: str) -> dict[str, str] | None:
    """`NAME.txt`: `Subject: …`, an empty line, the text; and, where there is one, `NAME.html`."""
    if not ID.fullmatch(name):
        reader.error("the name of a template: small letters, digits, `.`, `_` and `-`", name, path)
        return None
    if reader.templates is None:
        reader.error("a template in place: {subject: …, text: …}", name, path)
        return None
    file = reader.templates / f"{name}.txt"
    try:
        head, _, text = file.read_text("utf-8").partition("\n")
        html = reader.templates / f"{name}.html"
        parts = {"html": html.read_text("utf-8")} if html.exists() else {}
    except FileNotFoundError:
        there = sorted(found.stem for found in reader.templates.glob("*.txt"))
        reader.say(f"expected a template file {str(file)!r}, got none{close(name, there)}", path)
        return None
    except (OSError, UnicodeDecodeError) as error:
        reader.say(f"expected a template in UTF-8 in {str(file)!r}, got {error}", path)
        return None
    if not head.startswith("Subject:"):
        reader.say(f"expected `Subject: …` in the first line of {str(file)!r}, got {short(head)}", path)
        return None
    return {"subject": head.removeprefix("Subject:").strip(), "text": text.lstrip("\n"), **parts}


def _traits(reader: Reader, written: Any, asked: frozenset[str], path: str) -> tuple[str, ...]:
    if not isinstance(written, list) or not all(isinstance(trait, str) and trait for trait in written):
        reader.error("a list of names of traits", written, path)
        return ()
    traits = sorted({*written, *asked})
    if len(traits) > TRAITS_MAX:
        reader.error(f"at most {TRAITS_MAX} traits, those of the template among them", len(traits), path)
    return tuple(traits)


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
