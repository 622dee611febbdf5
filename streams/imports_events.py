"""Rows to events: a mapping made into functions, once a file, so that a row costs little.

A row is a list of cells, or an object of a file of JSON lines. What it can't become is `Unroutable`, with the column.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from actions.paths import value_at
from actions.reader import close, short
from schemas.events import parse_event
from schemas.rejected import Rejection
from streams.errors import InputError
from streams.imports_mapping import Mapping, Test, Value
from streams.imports_values import Unread, boolean_of, instant_of, json_of, list_of, number_of, text_of
from streams.publish import Routed, Unroutable, routed

MESSAGE_ID_BYTES = 16
# of each column
CELLS_CACHED = 1 << 13
COLUMNS_SHOWN = 50
# orjson reads 1024 and writes 254
ROW_DEPTH_MAX = 200


@dataclass(frozen=True)
class Malformed:
    """A row that can't be read at all, as it stands in the file, and why."""

    raw: bytes
    sentence: str


# a row of CSV, an object of JSON
Row = Any
Get = Callable[[Row], Any]


class Events:
    """What the rows of one file become, by one mapping; calling it is a `Route` of `streams.publish`.

    `skipped` counts those that `skip` left out.
    """

    def __init__(
        self, mapping: Mapping, columns: Sequence[str] | None, file: str, *, live: bool, arrives_then: bool
    ) -> None:
        """`columns` of the file, None of JSON; `file` is the name by which rows without an id get one.

        With `live` the events are no import; with `arrives_then` they arrive at their `timestamp`. Raises `InputError`
        where the file has no column that the mapping names.
        """
        if columns is not None:
            _check_columns(mapping, columns, file)
        self.skipped = 0
        self._columns = columns
        self._arrives_then = arrives_then
        self._salt = f"{mapping.id}\0{file}\0"
        self._context: dict[str, Any] = {"source": mapping.id} if live else {"import": True, "source": mapping.id}
        self._skip = [_test(test, self._cell(test.column, mapping.empty)) for test in mapping.skip]
        self._fields = [(name, self._get(value, mapping)) for name, value in mapping.fields.items()]
        self._properties = [(name, self._get(value, mapping)) for name, value in mapping.properties.items()]
        self._traits = [(name, self._get(value, mapping)) for name, value in mapping.traits.items()]
        self._named = frozenset(mapping.columns()) | mapping.leave_out
        self._rest, self._empty = mapping.rest, mapping.empty
        if columns is not None and self._rest is not None:
            pairs = self._properties if self._rest == "properties" else self._traits
            taken = self._named | {"", *(name for name, _ in pairs)}
            pairs += [(column, self._cell(column, mapping.empty)) for column in columns if column not in taken]

    def __call__(self, number: int, row: Row) -> Routed | None:
        """The event of the row in line `number`, None where a test leaves it out; raises `Unroutable`."""
        line = self.line(number, row)
        if line is None:
            return None
        try:
            # what the worker reads it with: nothing that is published here is rejected there
            event = parse_event(line)
        except Rejection as rejection:
            raise Unroutable(rejection.sentence) from None
        return routed(event, line, arrives_then=self._arrives_then)

    def line(self, number: int, row: Row) -> bytes | None:
        """The same as JSON, not looked at yet."""
        row = self._readable(row)
        if self._skip and any(leaves_out(row) for leaves_out in self._skip):
            self.skipped += 1
            return None
        made = _values(self._fields, row)
        if "messageId" not in made:
            made["messageId"] = self._message_id(number, row)
        self._fill(made, row)
        try:
            return orjson.dumps(made)
        except (TypeError, orjson.JSONEncodeError) as error:
            raise Unroutable(f"expected what JSON can say, got {error}") from None

    def _fill(self, made: dict[str, Any], row: Row) -> None:
        """Puts properties, traits and context where an event of that type has them."""
        properties, traits = _values(self._properties, row), _values(self._traits, row)
        if self._rest is not None and self._columns is None:
            rest = properties if self._rest == "properties" else traits
            rest |= {key: value for key, value in row.items() if self._is_rest(key, value) and key not in rest}
        kind, context = made.get("type"), self._context
        if kind == "identify" or kind == "group":
            made["traits"] = traits
        elif traits:
            context = {**context, "traits": traits}
        if properties or kind == "track":
            made["properties"] = properties
        made["context"] = context

    def _is_rest(self, key: str, value: Any) -> bool:
        return key not in self._named and value is not None and not (isinstance(value, str) and value in self._empty)

    def _readable(self, row: Row) -> Row:
        if isinstance(row, Malformed):
            raise Unroutable(row.sentence)
        if self._columns is not None:
            if len(row) != len(self._columns):
                raise Unroutable(f"expected {len(self._columns)} columns, got {len(row)}")
            return row
        try:
            row = orjson.loads(row)
        except orjson.JSONDecodeError as error:
            raise Unroutable(f"expected a JSON object, got {error.msg} at byte {error.pos}") from None
        if not isinstance(row, dict):
            raise Unroutable("expected a JSON object, got something else")
        if _is_deep(row, ROW_DEPTH_MAX):
            raise Unroutable(f"expected at most {ROW_DEPTH_MAX} levels of nesting, got more")
        return row

    def _message_id(self, number: int, row: Row) -> str:
        """The same for the same row in the same line of a file of that name, under the mapping's id."""
        content = "\0".join(row).encode() if self._columns is not None else orjson.dumps(row)
        hashed = hashlib.blake2b(f"{self._salt}{number}\0".encode(), digest_size=MESSAGE_ID_BYTES)
        hashed.update(content)
        return f"import-{hashed.hexdigest()}"

    def _cell(self, column: str, empty: frozenset[str]) -> Get:
        """What a row has in `column`, None where that is nothing."""
        if self._columns is None:

            def found(row: Row) -> Any:
                value = value_at(row, column)
                return None if isinstance(value, str) and value in empty else value

            return found
        at = self._columns.index(column)

        def cell(row: Row) -> Any:
            text = row[at]
            return None if text in empty else text

        return cell

    def _get(self, value: Value, mapping: Mapping) -> Get:
        """What a row has for `value`, None where that is nothing; raises `Unroutable`."""
        constant = value.constant
        if value.column is None:
            return lambda row: constant
        cell, convert = self._cell(value.column, mapping.empty), _conversion(value)
        if convert is None:
            return cell
        if self._columns is not None:
            # text to values, and most columns say few things
            convert = functools.lru_cache(maxsize=CELLS_CACHED)(convert)

        def get(row: Row) -> Any:
            found = cell(row)
            if found is None:
                return None
            try:
                return convert(found)
            except Unread as error:
                sentence = f"expected {error} in column {value.column!r} ({value.path}), got {short(found)}"
                raise Unroutable(sentence) from None

        return get


def _is_deep(value: Any, levels: int) -> bool:
    """Whether there are more levels of objects and arrays."""
    if not levels:
        return True
    within = value.values() if type(value) is dict else value
    return any(_is_deep(each, levels - 1) for each in within if type(each) is dict or type(each) is list)


def _values(pairs: Sequence[tuple[str, Get]], row: Row) -> dict[str, Any]:
    made = {}
    for name, get in pairs:
        value = get(row)
        if value is not None:
            made[name] = value
    return made


def _check_columns(mapping: Mapping, columns: Sequence[str], file: str) -> None:
    """Raises `InputError` for the columns that the mapping asks for and the file hasn't, or has twice."""
    shown = ", ".join(map(short, columns[:COLUMNS_SHOWN])) + (", …" if len(columns) > COLUMNS_SHOWN else "")
    lines = [
        f"{file}: expected a column {column!r} ({path}), found none of that name{close(column, columns)}; it has: {shown}"
        for column, path in mapping.columns().items()
        if column not in columns
    ]
    lines += [
        f"{file}: expected each column once, got {column!r} {count} times; name all with `header` in the mapping"
        for column in mapping.columns()
        if (count := columns.count(column)) > 1
    ]
    if lines:
        raise InputError(*lines)


def _test(test: Test, cell: Get) -> Callable[[Row], bool]:
    """Whether a row is left out."""
    expected = test.expected
    if test.kind == "exists":
        return lambda row: (cell(row) is not None) is expected
    if test.kind == "eq":
        return lambda row: _said(cell(row)) == expected
    if test.kind == "ne":
        return lambda row: _said(cell(row)) != expected
    if test.kind == "in":
        return lambda row: _said(cell(row)) in expected
    return lambda row: _said(cell(row)).startswith(expected)


def _said(found: Any) -> str:
    """What a cell says as text, so that a test of it is the same in CSV and in JSON."""
    if found is None:
        return ""
    return found if isinstance(found, str) else orjson.dumps(found).decode()


def _conversion(value: Value) -> Callable[[Any], Any] | None:
    """What makes the value of a cell, None where it is one as it stands."""
    values = value.values
    if values is not None:
        otherwise = value.otherwise

        def chosen(found: Any) -> Any:
            said = _said(found)
            if said in values:
                return values[said]
            if otherwise is None:
                known = ", ".join(list(values)[:10])
                raise Unread(f"one of those in `values` ({known}), or `else` beside them")
            return otherwise

        return chosen
    if value.prefix or value.lower or value.type == "text":
        prefix, lower = value.prefix, value.lower
        return lambda found: prefix + (text_of(found).lower() if lower else text_of(found))
    if value.type == "instant":
        format, zone = value.format, value.zone
        return lambda found: instant_of(found, format, zone)
    if value.type == "list":
        separator = value.separator
        return lambda found: list_of(found, separator)
    if value.type == "number":
        decimal = value.decimal
        return lambda found: number_of(found, decimal)
    if value.type is None:
        return None
    return {"boolean": boolean_of, "json": json_of}[value.type]
