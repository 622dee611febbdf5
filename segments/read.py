"""Text of a definitions file to data: YAML 1.2 with the core schema, or JSON; never an object, a date or a guess.

The core schema has null, booleans `true false`, integers (decimal, 0o, 0x) and floats; all else is text: no dates, no
`yes`, no base 60. A key twice in a mapping is an error, as are keys that are no text.
"""

import json
import re
from typing import Any, ClassVar

import yaml

from segments.errors import DefinitionErrors

BYTES_MAX = 10 * 1024 * 1024
# an alias costs nothing to read and everything to walk: a node may be met this often in all
NODES_MAX = 1_000_000
# definitions nest some forty levels at most; what reads them recurses
DEPTH_MAX = 200

_Base: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _CoreLoader(_Base):  # type: ignore[valid-type,misc]
    """PyYAML's safe loader with the resolvers of YAML 1.2's core schema alone."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            where = f"line {key_node.start_mark.line + 1}, column {key_node.start_mark.column + 1}"
            if not isinstance(key, str):
                raise _Unreadable(f"expected a key that is text, got {key!r} - at {where}")
            if key in made:
                raise _Unreadable(f"expected each key once, got {key!r} again - at {where}")
            made[key] = self.construct_object(value_node, deep=True)
        return made


class _Unreadable(Exception):
    pass


def _mapping(loader: _CoreLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node)


def _integer(loader: _CoreLoader, node: yaml.ScalarNode) -> int:
    text = node.value
    if len(text) > 400:
        raise _Unreadable(f"expected a number that a double can hold, got {text[:20]!r}...")
    if text.startswith("0o"):
        return int(text[2:], 8)
    return int(text[2:], 16) if text.startswith("0x") else int(text)


def _float(loader: _CoreLoader, node: yaml.ScalarNode) -> float:
    text = node.value.lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_RESOLVERS = (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
)
for _tag, _pattern, _first in _RESOLVERS:
    _CoreLoader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first))
_CoreLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
_CoreLoader.add_constructor("tag:yaml.org,2002:int", _integer)
_CoreLoader.add_constructor("tag:yaml.org,2002:float", _float)


def read_text(text: str, name: str) -> Any:
    """The data that `text` says; raises `DefinitionErrors` with one line that begins with `name`."""
    if len(text) > BYTES_MAX:
        raise DefinitionErrors([f"{name}: expected at most {BYTES_MAX} characters, got {len(text)}"])
    try:
        # JSON is YAML but for pairs of surrogate escapes, which PyYAML reads as two broken characters
        data = _read_json(text) if text.lstrip()[:1] == "{" else _MISSING
        if data is _MISSING:
            _check_depth(text)
            data = yaml.load(text, Loader=_CoreLoader)
    except _Unreadable as error:
        raise DefinitionErrors([f"{name}: {error}"]) from None
    except yaml.YAMLError as error:
        raise DefinitionErrors([f"{name}: expected YAML, got {_yaml_problem(error)}"]) from None
    except RecursionError:
        raise DefinitionErrors([f"{name}: expected at most {DEPTH_MAX} levels of nesting, got more"]) from None
    problem = _walk(data)
    if problem is not None:
        raise DefinitionErrors([f"{name}: {problem}"])
    return data


def _check_depth(text: str) -> None:
    """Raises where the document nests too deeply: composing it recurses in C, and would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                raise _Unreadable(f"expected at most {DEPTH_MAX} levels of nesting, got more")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


_MISSING = object()


def _read_json(text: str) -> Any:
    """JSON's data, or `_MISSING` when it is none (it may be YAML in flow style)."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in pairs:
            if key in made:
                raise _Unreadable(f"expected each key once, got {key!r} again")
            made[key] = value
        return made

    try:
        return json.loads(text, object_pairs_hook=once)
    except ValueError:
        return _MISSING


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{problem} - at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else str(problem)


def _walk(data: Any) -> str | None:
    """What is wrong with the data as a whole: too many values, or text that is none; None where nothing is."""
    seen, todo = 0, [data]
    while todo:
        item = todo.pop()
        seen += 1
        if seen > NODES_MAX:
            return f"expected at most {NODES_MAX} values, aliases counted each time, got more"
        if type(item) is dict:
            todo.extend(item.keys())
            todo.extend(item.values())
        elif type(item) is list:
            todo.extend(item)
        elif type(item) is str and not item.isascii():
            try:
                item.encode()
            except UnicodeEncodeError:
                return f"expected text that UTF-8 can say, got {item[:40]!r} with half a surrogate pair"
    return None
