"""The message of a rule, or of a step of a sequence, as it is written: channel, target, secret or template, traits."""

import re
from dataclasses import dataclass
from typing import Any, Final, cast

from actions.reader import ID, Reader, close, short
from actions.registry import SPECS, ChannelSpec
from actions.rules import Template
from actions.templates import TemplateError, check_template, quotes_link
from schemas.deliveries import CHANNELS, Channel

SECRET = re.compile(r"[A-Z0-9][A-Z0-9_]{0,63}", re.ASCII)
SUBJECT_CHARACTERS_MAX = 1000
GROUP_CHARACTERS_MAX = 100
EVENT_CHARACTERS_MAX = 100
TRAITS_MAX = 100
# a number, a short code, a name of at most 11 characters, or a messaging service
SENDER = re.compile(
    r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.{1,11}\Z)[A-Za-z0-9 ]*[A-Za-z][A-Za-z0-9 ]*|MG[0-9a-f]{32}", re.ASCII
)
_KEYS = ("channel", "traits")
# what a message may have of a channel that there isn't: one error is enough
_ALL_KEYS: Final = ("target", "secret", "template", "from", "event", "identify")
_NO_TEMPLATE: tuple[None, None, frozenset[str]] = (None, None, frozenset())


@dataclass(frozen=True)
class Message:
    """A message, read; of use only where there was no error. `parts`: the template as data, None where there is none."""

    channel: Channel
    target: str | None
    target_trait: str | None
    traits: tuple[str, ...]
    secret: str | None
    sender: str | None
    template: Template | None
    parts: dict[str, str] | None
    event: str | None = None
    identify: bool = False


def read_message(reader: Reader, body: dict[str, Any], path: str, others: tuple[str, ...]) -> Message:
    """The message in `body`, in which `others` are the keys that are the caller's; what is wrong goes to `reader`."""
    channel = reader.choice(body, "channel", CHANNELS, path)
    spec = SPECS.get(cast(Channel, channel))
    reader.keys(body, (*others, *_KEYS, *(spec.all_keys if spec else _ALL_KEYS)), path)
    if spec is None:
        _traits(reader, body.get("traits", []), frozenset(), f"{path}.traits")
        return Message("email", None, None, (), None, None, None, None)
    secret = _secret(reader, body.get("secret"), f"{path}.secret") if spec.secret_problem else None
    target, target_trait = _target(reader, body.get("target"), spec, f"{path}.target")
    sender = _sender(reader, body.get("from"), f"{path}.from") if "from" in spec.keys else None
    event = _event(reader, body["event"], f"{path}.event") if "event" in spec.keys and "event" in body else None
    identify = "identify" in spec.keys and reader.boolean(body, "identify", path)
    template, parts, asked = _NO_TEMPLATE
    if spec.parts:
        template, parts, asked = _template(reader, body.get("template"), spec, f"{path}.template")
    traits = _traits(reader, body.get("traits", []), asked, f"{path}.traits")
    # of a channel whose messages have but one place to go, the target is only what is shown of it
    shown = target if spec.target else secret or channel
    return Message(
        cast(Channel, channel), shown, target_trait, traits, secret, sender, template, parts, event, identify
    )


def read_group(reader: Reader, body: dict[str, Any], path: str) -> str | None:
    """The message group under `group`; None where there is none."""
    group = body.get("group")
    if group is None or (isinstance(group, str) and 0 < len(group) <= GROUP_CHARACTERS_MAX and group.isprintable()):
        return group
    reader.error(f"the name of a message group, of at most {GROUP_CHARACTERS_MAX} characters", group, f"{path}.group")
    return None


def check_link(reader: Reader, message: Message, group: str | None, path: str) -> None:
    """Adds an error where the message's template has a link that unsubscribes, and there is nothing to leave."""
    if message.template is None or group is not None:
        return
    template = message.template
    for part, text in (("subject", template.subject), ("text", template.text), ("html", template.html or "")):
        if quotes_link(text):
            reader.say(
                "expected `group` beside a template that has `unsubscribe_url`, got none", f"{path}.template.{part}"
            )


def _target(reader: Reader, target: Any, spec: ChannelSpec, path: str) -> tuple[str | None, str | None]:
    if spec.target is None:
        return None, None
    if spec.target.by_trait and isinstance(target, dict):
        reader.keys(target, ("trait",), path)
        trait = target.get("trait")
        if not isinstance(trait, str) or not trait:
            reader.error("the name of a trait", trait, f"{path}.trait")
        return None, trait
    expected = spec.target.problem(target)
    if expected is not None:
        reader.error(f"{expected}, or {{trait: …}}" if spec.target.by_trait else expected, target, path)
    return target, None


def _sender(reader: Reader, sender: Any, path: str) -> str:
    if not isinstance(sender, str) or not SENDER.fullmatch(sender):
        reader.error(
            "in quotes a phone number, a short code, a name of 11 characters or a messaging service", sender, path
        )
    return str(sender)


def _event(reader: Reader, event: Any, path: str) -> str:
    if not isinstance(event, str) or not 0 < len(event) <= EVENT_CHARACTERS_MAX or not event.isprintable():
        reader.error(f"the name of an event, of at most {EVENT_CHARACTERS_MAX} characters", event, path)
    return str(event)


def _secret(reader: Reader, secret: Any, path: str) -> str:
    if not isinstance(secret, str) or not SECRET.fullmatch(secret):
        reader.error("a NAME, whose secret stands in the environment as TIDEGATE_SECRET_NAME", secret, path)
    return str(secret)


def _template(
    reader: Reader, written: Any, spec: ChannelSpec, path: str
) -> tuple[Template | None, dict[str, str] | None, frozenset[str]]:
    before = len(reader.errors)
    if isinstance(written, str):
        written = _template_file(reader, written, spec, path)
        if written is None:
            return _NO_TEMPLATE
    known = (*spec.parts, *spec.more_parts)
    if not isinstance(written, dict):
        reader.error(f"the name of a template, or {_in_place(known)}", written, path)
        return _NO_TEMPLATE
    reader.keys(written, known, path)
    asked: set[str] = set()
    for part in known:
        if part in spec.parts or part in written:
            asked |= _part(reader, part, written.get(part), f"{path}.{part}")
    if len(reader.errors) > before:
        return _NO_TEMPLATE
    template = Template(written.get("subject", "").strip(), written["text"], written.get("html"))
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


def _template_file(reader: Reader, name: str, spec: ChannelSpec, path: str) -> dict[str, str] | None:
    """`NAME.txt`: `Subject: …`, an empty line, the text; and, where there is one, `NAME.html`.

    Of a channel whose messages have no subject the file is the text alone.
    """
    known = (*spec.parts, *spec.more_parts)
    if not ID.fullmatch(name):
        reader.error("the name of a template: small letters, digits, `.`, `_` and `-`", name, path)
        return None
    if reader.templates is None:
        reader.error(f"a template in place: {_in_place(known)}", name, path)
        return None
    file = reader.templates / f"{name}.txt"
    try:
        text = file.read_text("utf-8")
        html = reader.templates / f"{name}.html"
        parts = {"html": html.read_text("utf-8")} if "html" in known and html.exists() else {}
    except FileNotFoundError:
        there = sorted(found.stem for found in reader.templates.glob("*.txt"))
        reader.say(f"expected a template file {str(file)!r}, got none{close(name, there)}", path)
        return None
    except (OSError, UnicodeDecodeError) as error:
        reader.say(f"expected a template in UTF-8 in {str(file)!r}, got {error}", path)
        return None
    head, _, rest = text.partition("\n")
    has_subject = head.startswith("Subject:") and "subject" in known
    if "subject" in spec.parts and not has_subject:
        reader.say(f"expected `Subject: …` in the first line of {str(file)!r}, got {short(head)}", path)
        return None
    if not has_subject:
        return {"text": text, **parts}
    return {"subject": head.removeprefix("Subject:").strip(), "text": rest.lstrip("\n"), **parts}


def _in_place(parts: tuple[str, ...]) -> str:
    return "{" + ", ".join(f"{part}: …" for part in parts) + "}"


def _traits(reader: Reader, written: Any, asked: frozenset[str], path: str) -> tuple[str, ...]:
    if not isinstance(written, list) or not all(isinstance(trait, str) and trait for trait in written):
        reader.error("a list of names of traits", written, path)
        return ()
    traits = sorted({*written, *asked})
    if len(traits) > TRAITS_MAX:
        reader.error(f"at most {TRAITS_MAX} traits, those of the template among them", len(traits), path)
    return tuple(traits)
