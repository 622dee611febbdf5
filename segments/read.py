"""Text of a definitions file to data: YAML 1.2 with the core schema, or JSON; never an object, a date or a guess.

The core schema has null, booleans `true false`, integers (decimal, 0o, 0x) and floats; all else is text: no dates, no
`yes`, no base 60. A key twice in a mapping is an error, as are keys that are no text.
"""

import json
import re
from collections.abc import Callable
from typing import Any, ClassVar

import yaml

from segments.errors import DefinitionErrors
from segments.report import shown

BYTES_MAX = 10 * 1024 * 1024
# an alias costs nothing to read and everything to walk: a node may be met this often in all
NODES_MAX = 1_000_000
# definitions nest some forty levels at most; what reads them recurses
DEPTH_MAX = 200

_TOO_MANY = f"expected at most {NODES_MAX} values, aliases counted each time, got more"
_INFINITY = float("inf")
# what JSON's readers agree on; beyond, a number is its nearest double anyway
_INTEGER_MAX = 2**63 - 1

_Base: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _CoreLoader(_Base):  # type: ignore[valid-type,misc]
    """PyYAML's safe loader with the resolvers and tags of YAML 1.2's core schema alone."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: construct
        for tag, construct in _Base.yaml_constructors.items()
        if tag in (None, *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq")))
    }

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):  # `!!map` before something else
            raise yaml.constructor.ConstructorError(None, None, "expected a mapping", node.start_mark)
        made: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            where = f"line {key_node.start_mark.line + 1}, column {key_node.start_mark.column + 1}"
            if not isinstance(key, str):
                raise _Unreadable(f"expected a key that is text, got {shown(key)} - at {where}")
            if key in made:
                raise _Unreadable(f"expected each key once, got {shown(key)} again - at {where}")
            made[key] = self.construct_object(value_node, deep=True)
        return made


class _Unreadable(Exception):
    pass


def _mapping(loader: _CoreLoader, node: yaml.Node) -> dict[Any, Any]:
    return loader.construct_mapping(node)


class Unheld(float):
    """A number that no double can hold, as it was written: where one is expected, `check` says so and where."""

    def __new__(cls, text: str) -> "Unheld":
        made = super().__new__(cls, "nan")
        made.text = text
        return made

    text: str

    def __repr__(self) -> str:
        return self.text


def _integer_of(text: str) -> int | float:
    if len(text) > 400:
        return Unheld(text)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    exact = int(text if base == 10 else text[2:], base)
    if -_INTEGER_MAX <= exact <= _INTEGER_MAX:
        return exact
    try:
        return float(exact)
    except OverflowError:
        return Unheld(text)


def _float_of(text: str) -> float:
    if ".inf" in text.lower() or ".nan" in text.lower():
        return Unheld(text)
    nearest = float(text)
    digits = text.lower().partition("e")[0].strip("+-0.")
    return Unheld(text) if nearest in (_INFINITY, -_INFINITY) or (nearest == 0 and digits) else nearest


def _add_scalar(kind: str, pattern: str, first: list[str], read: Callable[[str], Any]) -> None:
    """Have plain text of that pattern read so, and hold to it what a tag such as `!!int` stands before."""
    tag, expected = f"tag:yaml.org,2002:{kind}", re.compile(rf"^(?:{pattern})$")

    def construct(loader: _CoreLoader, node: yaml.Node) -> Any:
        text = loader.construct_scalar(node)
        if not expected.fullmatch(text):
            problem = f"expected what `!!{kind}` says, got {shown(text)}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return read(text)

    _CoreLoader.add_implicit_resolver(tag, expected, first)
    _CoreLoader.add_constructor(tag, construct)


_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
_add_scalar("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF"), lambda text: text.lower() == "true")
_add_scalar("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789"), _integer_of)
_add_scalar("float", _FLOAT, list("-+.0123456789"), _float_of)
_add_scalar("null", r"null|Null|NULL|~|", ["n", "N", "~", ""], lambda text: None)
_CoreLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_text(text: str, name: str) -> Any:
    """The data that `text` says; raises `DefinitionErrors` with one line that begins with `name`."""
    if len(text) > BYTES_MAX:
        raise DefinitionErrors([f"{name}: expected at most {BYTES_MAX} characters, got {len(text)}"])
    try:
        # JSON is YAML but for pairs of surrogate escapes, which PyYAML reads as two broken characters
        data = _read_json(text) if text.lstrip()[:1] == "{" else _MISSING
        if data is _MISSING:
            _check_size(text)
            data = yaml.load(text, Loader=_CoreLoader)
    except _Unreadable as error:
        raise DefinitionErrors([f"{name}: {error}"]) from None
    except yaml.YAMLError as error:
        raise DefinitionErrors([f"{name}: expected YAML, got {_yaml_problem(error)}"]) from None
    except RecursionError:
        raise DefinitionErrors([f"{name}: expected at most {DEPTH_MAX} levels of nesting, got more"]) from None
    check_data(data, name)
    return data


def check_data(data: Any, name: str) -> None:
    """Raises `DefinitionErrors` with one line where the data is nothing that JSON could say, or too much of it."""
    problem = _walk(data)
    if problem is not None:
        raise DefinitionErrors([f"{name}: {problem}"])


def _check_size(text: str) -> None:
    """Raises where the document nests too deeply, or has too much in it.

    Composing it recurses in C, and would end the process; and what is composed takes two hundred times its length.
    """
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if nodes > NODES_MAX:
                raise _Unreadable(_TOO_MANY)
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
                raise _Unreadable(f"expected each key once, got {shown(key)} again")
            made[key] = value
        return made

    try:
        return json.loads(
            text, object_pairs_hook=once, parse_int=_integer_of, parse_float=_float_of, parse_constant=Unheld
        )
    except ValueError:
        return _MISSING


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{problem} - at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else str(problem)


def _walk(data: Any) -> str | None:
    """What is wrong with the data as a whole: too many values, or keys or text that are none; None where nothing is."""
    seen, todo = 0, [data]
    while todo:
        item = todo.pop()
        seen += 1
        if seen > NODES_MAX:
            return _TOO_MANY
        if type(item) is dict:
            odd = [key for key in item if type(key) is not str]
            if odd:
                return f"expected keys that are text, got {shown(odd[0])}"
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
