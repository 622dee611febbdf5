"""What browsers send of an HTML form: names and values, of `application/x-www-form-urlencoded` and `multipart/form-data`.

Nothing is unpacked and no file is kept: a form of a gateway is a few hundred short texts, whatever it was sent by.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote

from schemas.rejected import Reason, Rejection

FIELDS_MAX: Final = 200
URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
_BOUNDARY: Final = re.compile(r';\s*boundary="?([^";,\s]{1,70})"?', re.ASCII | re.IGNORECASE)
_DISPOSITION: Final = re.compile(rb"^content-disposition:\s*form-data\s*(;.*)$", re.IGNORECASE | re.MULTILINE)
_NAME: Final = re.compile(rb';\s*name="([^"\r\n]*)"', re.IGNORECASE)
_FILE: Final = re.compile(rb';\s*filename\*?=(?!"")', re.IGNORECASE)
_NO_FILE: Final = re.compile(rb';\s*filename=""', re.IGNORECASE)


@dataclass(frozen=True)
class Field:
    """One field as it was filled in; `file`: what was chosen there is a file, and `value` is empty."""

    name: str
    value: str
    file: bool = False


def fields_of(body: bytes, content_type: str, *, strict: bool = True) -> list[Field]:
    """The fields of a form, in order; raises `Rejection` where it is none, or has too many.

    With `strict`, also where something isn't in UTF-8; else that is replaced.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == MULTIPART:
            return list(_parts(body, content_type, "strict" if strict else "replace"))
        if kind in ("", URLENCODED):
            return _pairs(body, "strict" if strict else "replace")
    except UnicodeDecodeError:
        raise Rejection(Reason.NOT_SUPPORTED, "expected a form in UTF-8, got bytes that are none") from None
    raise Rejection(Reason.NOT_SUPPORTED, f"expected a form as {URLENCODED} or {MULTIPART}, got {kind[:60]!r}")


def _pairs(body: bytes, errors: str) -> list[Field]:
    try:
        pairs = parse_qsl(
            body.decode("utf-8", errors), keep_blank_values=True, errors=errors, max_num_fields=FIELDS_MAX
        )
    except UnicodeDecodeError:
        raise
    except ValueError:
        raise _too_many() from None
    return [Field(name, value) for name, value in pairs]


def _parts(body: bytes, content_type: str, errors: str) -> Iterator[Field]:
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise Rejection(Reason.NOT_SUPPORTED, "expected the boundary of a form in Content-Type, got none")
    _, *pieces = (b"\r\n" + body).split(b"\r\n--" + found.group(1).encode(), FIELDS_MAX + 2)
    for n, piece in enumerate(pieces):
        if piece.startswith(b"--"):
            return
        if n == FIELDS_MAX:
            raise _too_many()
        head, _, content = piece.partition(b"\r\n\r\n")
        disposition = _DISPOSITION.search(head.replace(b"\r\n", b"\n"))
        name = _NAME.search(disposition.group(1)) if disposition else None
        if disposition is None or name is None:
            raise Rejection(Reason.NOT_SUPPORTED, "expected the name of a field in each part of a form, got none")
        # browsers write a quote, and the end of a line, as in URLs
        called = unquote(name.group(1).decode("utf-8", errors), errors="replace")
        if _FILE.search(disposition.group(1)):
            yield Field(called, "", file=True)
        elif not _NO_FILE.search(disposition.group(1)):  # nothing was chosen
            yield Field(called, content.decode("utf-8", errors))
    raise Rejection(Reason.NOT_SUPPORTED, "expected the end of a form, got none: it was cut off on the way")


def _too_many() -> Rejection:
    return Rejection(Reason.TOO_LARGE, f"expected at most {FIELDS_MAX} fields in a form, got more")
