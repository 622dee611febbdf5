"""How two versions of a definition differ, by path, as a person would say it. No Kafka in here."""

import dataclasses
import difflib
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# the path of a thousand ids in a list that was sorted anew helps nobody, and to find it takes the square of them
LIST_MAX = 1000


class Absent:
    """The one value that stands for none at all, where `None` may be what was written."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = Absent()


@dataclasses.dataclass(frozen=True)
class Difference:
    """What stands at `path` in one version and in the other; `ABSENT` where nothing does.

    An index in the path is that of the newer version, and of the older one where the newer has nothing there.
    """

    path: str
    old: Any
    new: Any


def differences(old: Any, new: Any, path: str = "$") -> Iterator[Difference]:
    """The differences between two values of JSON, each as deep down as it can be told."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), path + _step(key))
    elif isinstance(old, list) and isinstance(new, list) and max(len(old), len(new)) <= LIST_MAX:
        yield from _in_lists(old, new, path)
    elif ABSENT in (old, new) or _text(old) != _text(new):
        yield Difference(path, old, new)


def _in_lists(old: list[Any], new: list[Any], path: str) -> Iterator[Difference]:
    """Elements that stay are matched first, so that one put in at the front is one difference."""
    matcher = difflib.SequenceMatcher(None, [*map(_text, old)], [*map(_text, new)], autojunk=False)
    for _, start, end, new_start, new_end in matcher.get_opcodes():
        both = min(end - start, new_end - new_start)
        for n in range(both):
            yield from differences(old[start + n], new[new_start + n], f"{path}[{new_start + n}]")
        for n in range(start + both, end):
            yield Difference(f"{path}[{n}]", old[n], ABSENT)
        for n in range(new_start + both, new_end):
            yield Difference(f"{path}[{n}]", ABSENT, new[n])


def _step(key: str) -> str:
    return f".{key}" if _PLAIN.fullmatch(key) else f"[{_text(key).decode()}]"


def _text(value: Any) -> bytes:
    # as JSON, since Python holds True to be 1; keys in order, as a mapping has none
    return msgspec.json.encode(value, order="deterministic")
