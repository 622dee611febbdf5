"""A connection: who may send, and what it changes about the vendor's mapping. `connection_reading.py` reads it."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathQuery

from schemas.events import CONTACT_BYTES_MAX
from streams.vendors.contract import Names, Notification, text_of

# what a contact may be named by, in the order of the rule unless a connection says another
NameKind = Literal["user_id", "email", "vendor_id"]
NAME_KINDS: Final[tuple[NameKind, ...]] = ("user_id", "email", "vendor_id")
# not a vendor: Segment's HTTP tracking API
TRACKING: Final = "tracking"
# no name of another kind looks like this: neither an id nor a vendor's id, whose `:` no address has
_ADDRESS: Final = re.compile(r"[^\s@:;,<>()\[\]\\\"]{1,64}@[^\s@:;,<>()\[\]\\\"]{1,253}")


def _paths() -> JSONPathEnvironment:
    """Without regular expressions: what somebody typed could keep one, and all of the gateway with it, busy for good."""
    environment = JSONPathEnvironment()
    for name in ("match", "search"):
        del environment.function_extensions[name]
    return environment


_PATHS: Final = _paths()


@dataclass(frozen=True)
class Path:
    """A JSONPath (RFC 9535), as it is written, but for `match()` and `search()`."""

    text: str

    @functools.cached_property
    def _query(self) -> JSONPathQuery:
        return _PATHS.compile(self.text)

    def first(self, body: Any) -> Any:
        """The first value that it leads to; None where there is none."""
        found = self._query.find_one(body)
        return None if found is None else found.value


@dataclass(frozen=True)
class Override:
    """What becomes of a vendor's event in place of what the mapping says. None in `event`: it keeps the names that it has.

    Values of `properties` and `traits` are literals or `Path`s.
    """

    event: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    traits: Mapping[str, Any] = field(default_factory=dict)
    ignored: bool = False


@dataclass(frozen=True)
class Connection:
    """One source of events. `secrets`: names in the environment, after `TIDEGATE_SECRET_`; any of them proves a request.

    `contact`: by which names contacts are found, in order. `user_ids`: where the company's own id stands, before the places
    where the vendor has it. `overrides`: by the vendor's name of an event, `*` at the end for all that begin so; the longest
    counts. `namespace` begins contacts' names of the vendor. `origins`: of browsers that may send, empty for all.
    `own`: what a vendor without a mapping of its own is told here (`generic`, `form`).
    """

    id: str
    vendor: str
    secrets: tuple[str, ...]
    contact: tuple[NameKind, ...] = NAME_KINDS
    user_ids: tuple[Path, ...] = ()
    overrides: Mapping[str, Override] = field(default_factory=dict)
    namespace: str = ""
    origins: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)

    def override(self, name: str) -> Override | None:
        """What there is for the vendor's event of that name."""
        exact = self.overrides.get(name)
        if exact is not None:
            return exact
        starts = [key for key in self.overrides if key.endswith("*") and name.startswith(key[:-1])]
        return self.overrides[max(starts, key=len)] if starts else None

    def names_of(self, notification: Notification, names: Names) -> list[str]:
        """What the contact is called, the best name first and each once; empty where it has none.

        An e-mail address is in small letters, and a vendor's id begins with the namespace. What is no address, or longer than
        a contact's name may be, is none.
        """
        user_id = next((found for path in self.user_ids if (found := text_of(path.first(notification.body)))), None)
        called = {
            "user_id": user_id or names.user_id,
            "email": address_of(names),
            "vendor_id": f"{self.namespace or self.vendor}:{names.vendor_id}" if names.vendor_id else None,
        }
        fitting = (name for kind in self.contact if (name := called[kind]) and len(name.encode()) <= CONTACT_BYTES_MAX)
        return list(dict.fromkeys(fitting))


def address_of(names: Names) -> str | None:
    """The address that a contact is called by, in small letters; None where there is none.

    What somebody wrote into a field for addresses may be `n/a`, which many are called by, or the id of somebody else.
    """
    found = names.email.strip().lower() if names.email else ""
    return found if _ADDRESS.fullmatch(found) else None
