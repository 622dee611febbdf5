"""The value at a path, as the segment language reads paths (section 4)."""

from collections.abc import Mapping
from typing import Any


def value_at(values: Mapping[str, Any], path: str) -> Any:
    """The value at `path`, None where there is none: at each level the longest key that fits is tried first."""
    if path in values:
        return values[path]
    head = path
    while "." in head:
        head = head[: head.rindex(".")]
        inner = values.get(head)
        if isinstance(inner, Mapping):
            found = value_at(inner, path[len(head) + 1 :])
            if found is not None:
                return found
    return None
