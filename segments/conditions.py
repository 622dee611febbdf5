"""The definitions as data: what a segment file says once it has been read and checked (language page, sections 4-6).

Durations and instants are epoch milliseconds here, names are sorted, and nothing is left that needs checking. This is
the vocabulary that the compiler reads; how it was spelled in the file is forgotten, but for `Segment.body`.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Test:
    """One operator of section 5 with its right side; `argument` is checked, durations and instants in ms."""

    operator: str
    argument: Any
    ignore_case: bool = False


@dataclasses.dataclass(frozen=True)
class Where:
    """A test of an event's properties: `kind` is `all`, `any` or `none` over `parts`, or `path` with one test."""

    kind: str
    parts: tuple["Where", ...] = ()
    path: str = ""
    test: Test | None = None


@dataclasses.dataclass(frozen=True)
class Names:
    """Which events: those in `names`, or with `except_`, all but the names and prefixes in it; or a `prefix`."""

    names: tuple[str, ...] = ()
    prefix: str | None = None
    except_: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    def matches(self, name: str) -> bool:
        """Whether an event of this name is meant."""
        if self.except_ is not None:
            names, prefixes = self.except_
            return name not in names and not (prefixes and name.startswith(prefixes))
        return name in self.names if self.prefix is None else name.startswith(self.prefix)


@dataclasses.dataclass(frozen=True)
class Measure:
    """What is measured over the matching events: `count`, `sum` (of `path`) or `last_at`, against `tests` (all hold)."""

    kind: str
    tests: tuple[Test, ...]
    path: str = ""


@dataclasses.dataclass(frozen=True)
class All:
    """Every one of `conditions` is true."""

    conditions: tuple["Condition", ...]


@dataclasses.dataclass(frozen=True)
class Any_:
    """At least one of `conditions` is true."""

    conditions: tuple["Condition", ...]


@dataclasses.dataclass(frozen=True)
class Not:
    """`condition` is false."""

    condition: "Condition"


@dataclasses.dataclass(frozen=True)
class Everyone:
    """The contact is known: true for whoever has a state."""


@dataclasses.dataclass(frozen=True)
class TraitIs:
    """The trait at `path` passes `test`."""

    path: str
    test: Test


@dataclasses.dataclass(frozen=True)
class EventIs:
    """`measure` holds over the events of `names` that pass `where`, in the last `within_ms` (None: ever)."""

    names: Names
    where: Where | None
    within_ms: int | None
    measure: Measure


@dataclasses.dataclass(frozen=True)
class InSegment:
    """The contact is in the segment `id`, after that one's hold."""

    id: str


Condition = All | Any_ | Not | Everyone | TraitIs | EventIs | InSegment


@dataclasses.dataclass(frozen=True)
class Segment:
    """A checked definition: `when` must hold for `enter_ms` before entered, and fail for `leave_ms` before left."""

    id: str
    when: Condition
    enter_ms: int
    leave_ms: int
    body: dict[str, Any] = dataclasses.field(hash=False, compare=False)


@dataclasses.dataclass(frozen=True)
class Definitions:
    """The segments of one or more files, as they were written."""

    segments: tuple[Segment, ...]
