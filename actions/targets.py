"""Whereto a message may go: what the target of a channel has to be, wherever it comes from."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

ADDRESS_CHARACTERS_MAX: Final = 254
URL_CHARACTERS_MAX: Final = 2000
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)


@dataclass(frozen=True)
class Target:
    """A kind of target. `problem` says what a value should have been, None when it is all right.

    `by_trait`: it may also be what a trait of the contact holds.
    """

    problem: Callable[[Any], str | None]
    by_trait: bool


def is_address(value: object) -> bool:
    """Whether `value` is an e-mail address that any mail server takes: ASCII, `name@host`, at most 254 characters."""
    return isinstance(value, str) and len(value) <= ADDRESS_CHARACTERS_MAX and _ADDRESS.fullmatch(value) is not None


def is_phone(value: object) -> bool:
    """Whether `value` is a phone number as E.164 has it: `+`, country, number; 15 digits at most, nothing between."""
    return isinstance(value, str) and _PHONE.fullmatch(value) is not None


def _address_problem(value: Any) -> str | None:
    return None if is_address(value) else "an e-mail address"


def _phone_problem(value: Any) -> str | None:
    return None if is_phone(value) else "a phone number such as '+4930901820'"


def url_problem(value: Any) -> str | None:
    """What a URL to be called should have been, None when it is all right."""
    if not isinstance(value, str) or len(value) > URL_CHARACTERS_MAX or not value.isascii() or not value.isprintable():
        return f"a URL of at most {URL_CHARACTERS_MAX} printable ASCII characters"
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return "a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in value:
        return "a URL that begins with https:// or http:// and has a host"
    # a definition is readable to all who read the topic: what must stay secret stands in the environment
    return "a URL with no user or password in it" if "@" in parts.netloc else None


def _endpoint_problem(value: Any) -> str | None:
    expected = url_problem(value)
    if expected is not None:
        return expected
    path = urlsplit(value).path.rstrip("/")
    if "?" in value or "#" in value or path.endswith(("/v1", "/v1/batch")):
        return "a URL that /v1/batch comes after, such as https://api.segment.io"
    return None


def _topic_problem(value: Any) -> str | None:
    if not isinstance(value, str) or not _TOPIC.fullmatch(value) or value in (".", ".."):
        return "the name of a topic: at most 249 letters, digits, '.', '_' and '-'"
    return "a topic of yours, none of Kafka's own" if value.startswith("__") else None


ADDRESS: Final = Target(_address_problem, by_trait=True)
PHONE: Final = Target(_phone_problem, by_trait=True)
# out of a trait, a URL or a topic would let a contact choose what is called or written to
URL: Final = Target(url_problem, by_trait=False)
ENDPOINT: Final = Target(_endpoint_problem, by_trait=False)
TOPIC: Final = Target(_topic_problem, by_trait=False)
