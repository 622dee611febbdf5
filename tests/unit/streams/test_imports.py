"""What becomes of rows: mappings with their errors, cells, files that people and programs write, and going on."""

import csv
import dataclasses
import gzip
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.errors import DefinitionErrors
from streams import imports_rows
from streams.errors import InputError
from streams.event_lines import open_blocks
from streams.imports import Import, open_import
from streams.imports_events import Events
from streams.imports_mapping import read_mapping
from streams.imports_rows import CsvRows, Malformed
from streams.publish import Unroutable
from streams.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "deploy"))

KEYS = [
    "id",
    "type",
    "event",
    "userId",
    "timestamp",
    "properties",
    "traits",
    "skip",
    "rest",
    "empty",
    "header",
    "column",
]
KEYS += ["value", "values", "else", "format", "zone", "encoding", "delimiter", "prefix", "lower", "eq", "in", "exists"]
BOUGHT = """
id: orders
type: track
event: Order Completed
userId: customer
timestamp: at
properties: {total: {column: sum, type: number}}
"""
SEEN = "id: seen\ntype: identify\nuserId: who\n"


class Answer:
    """What came of a file: events, and lines with a sentence of those that none came of."""

    def __init__(self, imported: Import) -> None:
        self.events: list[dict[str, Any]] = []
        self.bad: list[tuple[int, str]] = []
        for number, row in itertools.chain.from_iterable(imported):
            try:
                routed = imported.route(number, row)
            except Unroutable as error:
                self.bad.append((number, str(error)))
            else:
                if routed is not None:
                    self.events.append(json.loads(routed.value))
        self.place = imported.place()

    def of(self, *path: str) -> list[Any]:
        """The value at a path of each event, None where it has none."""
        found: list[Any] = self.events
        for key in path:
            found = [each.get(key) if isinstance(each, dict) else None for each in found]
        return found


Read = Callable[..., Answer]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Imports bytes under a mapping, with nothing sent."""
    monkeypatch.chdir(tmp_path)

    def import_(data: bytes | str, mapping: str = BOUGHT, name: str = "orders.csv", **options: Any) -> Answer:
        Path(name).write_bytes(data.encode() if isinstance(data, str) else data)
        with open_import(name, read_mapping(mapping, "m.yaml"), load_settings({}), keeps_place=False, **options) as it:
            return Answer(it)

    return import_


# ---- mappings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ("[]", "m.yaml: expected a mapping with `id`"),
        ("id: a", "expected `type`: one of track identify"),
        ("id: a", "expected `userId` or `anonymousId`"),
        ("type: track", "expected an id of small letters"),
        ("id: a\ntype: trak\nuserId: u", "got 'trak' (did you mean 'track'?) - at $.type"),
        (
            "id: a\ntype: track\nuserId: u",
            "expected `event`, which an event of type track has, got nothing - at $.event",
        ),
        ("id: a\ntype: delete\nuserId: u", "expected one of track identify page screen group alias list, got 'delete'"),
        ("id: a\ntype: list\nuserId: u\nlist: vip", "expected `action`"),
        (SEEN + "propertis: {}", "unknown key 'propertis' (did you mean 'properties'?)"),
        (SEEN + "traits: [plan]", "expected a mapping of names to columns, got ['plan'] - at $.traits"),
        (SEEN + "traits: {plan: 5}", "expected a column, or {column: NAME}, got 5 - at $.traits.plan"),
        (SEEN + "traits: {plan: {colum: x}}", "unknown key 'colum' (did you mean 'column'?)"),
        (SEEN + "traits: {a: {column: x, type: int}}", "got 'int' (did you mean 'instant'?) - at $.traits.a.type"),
        (
            SEEN + "traits: {a: {column: x, zone: UTC}}",
            "expected `type: instant` beside `zone`, got none - at $.traits.a",
        ),
        (SEEN + "traits: {a: {column: x, decimal: ','}}", "expected `type: number` beside `decimal`"),
        (SEEN + "traits: {a: {value: 1, type: number}}", "expected `value` alone, got `type` beside it"),
        (SEEN + "traits: {a: {column: x, else: 1}}", "expected `values` beside `else`, got none"),
        (
            SEEN + "timestamp: {column: at, format: '%H:%M'}",
            "expected iso, seconds, milliseconds, or year, month and day",
        ),
        (
            SEEN + "timestamp: {column: at, format: '%Y-%m-%d %H:%M %Z', zone: Europe/Berlin}",
            "expected a format without %Z: %z for +01:00, or the letters as they stand",
        ),
        (SEEN + "timestamp: {column: at, format: secnds}", "(did you mean 'seconds'?) - at $.timestamp.format"),
        (SEEN + "timestamp: {column: at, zone: Europe/Berlinn}", "(did you mean 'Europe/Berlin'?)"),
        (SEEN + "encoding: utf-16", "expected an encoding in which ASCII is ASCII"),
        (SEEN + "encoding: nonsense", "got 'nonsense' - at $.encoding"),
        (SEEN + "encoding: hex", "got 'hex' - at $.encoding"),
        (SEEN + "delimiter: ';;'", "expected one character, got ';;'"),
        (SEEN + "format: xlsx", "expected csv or jsonl, got 'xlsx'"),
        (SEEN + "skip: {column: x}", "expected one of exists eq ne in prefix, got none - at $.skip[0]"),
        (SEEN + "skip: {column: x, eq: 5}", "expected text, numbers in quotes, got 5 - at $.skip[0].eq"),
        (SEEN + "id: again", "expected each key once, got 'id' again"),
    ],
)
def test_a_mapping_that_is_wrong_is_refused_with_the_place_and_what_was_expected(mapping: str, expected: str) -> None:
    """Before a row of it is read."""
    with pytest.raises(DefinitionErrors) as raised:
        read_mapping(mapping, "m.yaml")

    assert expected in "\n".join(raised.value.errors)


def test_all_that_is_wrong_with_a_mapping_is_said_at_once() -> None:
    """So that it is mended once."""
    with pytest.raises(DefinitionErrors) as raised:
        read_mapping("id: a\ntype: trak\ntimestamp: {column: at, zone: Mars}\nskip: x", "m.yaml")

    assert len(raised.value.errors) == 4


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["track", "x", "iso", "UTC"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(KEYS),
                inner,
                max_size=6,
            )
        ),
        max_leaves=20,
    )
)
def test_no_mapping_does_more_than_be_refused(body: Any) -> None:
    """With sentences."""
    try:
        read_mapping(json.dumps(body), "m.yaml")
    except DefinitionErrors as error:
        assert all(" - at " in line for line in error.errors)


# ---- events --------------------------------------------------------------------------------------------------------


def test_a_row_is_an_event_of_history_at_its_own_instant(read: Read) -> None:
    """It says which mapping it came by, and when it arrives is left to the broker."""
    (event,) = read("customer,at,sum\nann,2026-03-01T09:30:00+01:00,19.90\n").events

    assert event.pop("messageId").startswith("import-")
    assert event == {
        "type": "track",
        "event": "Order Completed",
        "userId": "ann",
        "timestamp": "2026-03-01T08:30:00.000Z",
        "properties": {"total": 19.9},
        "context": {"import": True, "source": "orders"},
    }


def test_live_events_are_not_marked(read: Read) -> None:
    """Whoever asks for it has rules act on them."""
    data = "customer,at,sum\nann,2026-03-01T09:30:00Z,1\n"

    assert read(data, live=True).of("context") == [{"source": "orders"}]


def test_the_arrival_clock_has_rows_arrive_when_they_happened(tmp_path: Path) -> None:
    """That is what a replay is; with the wall clock they are late."""
    path = tmp_path / "o.csv"
    path.write_text("customer,at,sum\nann,2026-03-01T09:30:00Z,1\n")
    settings = load_settings({"TIDEGATE_CLOCK": "arrival"})
    with open_import(str(path), read_mapping(BOUGHT, "m"), settings, keeps_place=False) as imported:
        assert Answer(imported).of("receivedAt") == [1772357400000]


@pytest.mark.parametrize(
    ("spec", "cell", "value"),
    [
        ("{column: x, type: number}", "-3", -3),
        ("{column: x, type: number}", " 1e3 ", 1000),
        ("{column: x, type: number}", "0.00", 0),
        ("{column: x, type: number}", "007", 7),
        ("{column: x, type: number}", "123456789012345678901", 1.2345678901234568e20),
        ("{column: x, type: number, decimal: ','}", "1.234,50", 1234.5),
        ("{column: x, type: boolean}", "YES", True),
        ("{column: x, type: boolean}", "0", False),
        ("{column: x, type: list, separator: '|'}", "a||b", ["a", "b"]),
        ("{column: x, type: json}", '{""a"":[1]}', {"a": [1]}),
        ("{column: x, type: instant}", "2026-03-01T09:30:00Z", "2026-03-01T09:30:00.000Z"),
        ("{column: x, type: instant, zone: Europe/Berlin}", "2026-07-01", "2026-06-30T22:00:00.000Z"),
        ("{column: x, type: instant, zone: Europe/Berlin}", "2026-03-29 02:30:00", "2026-03-29T01:00:00.000Z"),
        ("{column: x, type: instant, zone: Europe/Berlin}", "2026-10-25 02:30:00", "2026-10-25T00:30:00.000Z"),
        ("{column: x, type: instant, format: seconds}", "1772357400.5", "2026-03-01T09:30:00.500Z"),
        ("{column: x, type: instant, format: milliseconds}", "1772357400123", "2026-03-01T09:30:00.123Z"),
        (
            "{column: x, type: instant, format: '%d/%b/%Y:%H:%M:%S %z'}",
            "01/Mar/2026:10:30:00 +0100",
            "2026-03-01T09:30:00.000Z",
        ),
        ("{column: x, values: {P: pro, F: 5}}", "F", 5),
        ("{column: x, values: {P: pro}, else: none}", "Q", "none"),
        ("{column: x, prefix: cus_, lower: true}", "ABC", "cus_abc"),
        ("{column: x}", " as it is ", " as it is "),
        ("x", "", None),
        ("{value: EUR}", "", "EUR"),
    ],
)
def test_cells_become_what_the_mapping_says(read: Read, spec: str, cell: str, value: Any) -> None:
    """Empty ones become nothing."""
    answer = read(f'who,x\nann,"{cell}"\n', SEEN + f"traits: {{t: {spec}}}")

    assert answer.bad == []
    assert answer.of("traits", "t") == [value]


@pytest.mark.parametrize(
    ("spec", "cell", "expected"),
    [
        ("{column: x, type: number}", "1,5", "expected a number in column 'x' (traits.t), got '1,5'"),
        ("{column: x, type: number}", "nan", "expected a number in"),
        ("{column: x, type: number}", "1_000", "expected a number in"),
        ("{column: x, type: number}", "1e999", "expected a number that a double can hold"),
        ("{column: x, type: number}", "1e-999", "expected a number that a double can hold"),
        ("{column: x, type: boolean}", "maybe", "expected true or false"),
        ("{column: x, type: json}", "{", "expected JSON in"),
        ("{column: x, type: instant}", "2026-03-01 09:30", "expected a time with its offset, or `zone` in the mapping"),
        ("{column: x, type: instant}", "01.03.2026", "or say `format`"),
        ("{column: x, type: instant, format: seconds}", "soon", "expected seconds since 1970"),
        ("{column: x, type: instant, format: seconds}", "99999999999999", "expected an instant of the years 1 to 9999"),
        ("{column: x, type: instant, format: '%d.%m.%Y', zone: UTC}", "31.02.2026", "expected a time as %d.%m.%Y"),
        ("{column: x, values: {P: pro}}", "Q", "expected one of those in `values` (P)"),
    ],
)
def test_a_cell_that_is_not_what_it_should_be_is_a_bad_row_with_column_and_reason(
    read: Read, spec: str, cell: str, expected: str
) -> None:
    """The rows around it are taken."""
    answer = read(f'who,x\nann,\nbob,"{cell}"\ncid,\n', SEEN + f"traits: {{t: {spec}}}")

    assert [number for number, _ in answer.bad] == [3]
    assert expected in answer.bad[0][1]
    assert answer.of("userId") == ["ann", "cid"]


def test_a_row_without_a_contact_is_bad(read: Read) -> None:
    """As a line is."""
    assert read("customer,at,sum\n,2026-03-01T09:30:00Z,1\n").bad == [
        (2, "expected a non-empty `userId` or `anonymousId`, got neither")
    ]


def test_name_and_type_of_an_event_may_come_from_a_column(read: Read) -> None:
    """By value."""
    mapping = (
        "id: a\ntype: {column: k, values: {c: identify}, else: track}\nuserId: u\n"
        "event: {column: k, values: {o: Order Completed, r: Order Refunded, c: none}}\ntraits: {n: n}"
    )
    answer = read("u,k,n\na,o,1\nb,r,2\nc,c,3\nd,x,4\n", mapping)

    assert answer.of("event")[:2] == ["Order Completed", "Order Refunded"]
    assert answer.of("type") == ["track", "track", "identify"]
    assert answer.of("context", "traits", "n") == ["1", "2", None], "of a track, traits stand in its context"
    assert answer.of("traits", "n") == [None, None, "3"]
    assert [number for number, _ in answer.bad] == [5]


@pytest.mark.parametrize(
    ("test", "left"),
    [
        ("eq: draft", "cd"),
        ("ne: draft", "ab"),
        ("in: [draft, test]", "d"),
        ("prefix: dr", "cd"),
        ("exists: false", "abc"),
    ],
)
def test_rows_are_left_out_by_a_test(read: Read, test: str, left: str) -> None:
    """They are counted, and no bad rows."""
    answer = read("who,s\na,draft\nb,draft\nc,test\nd,\n", SEEN + f"skip: {{column: s, {test}}}")

    assert ("".join(answer.of("userId")), answer.bad) == (left, [])
    assert answer.place.skipped == 4 - len(left)


def test_columns_that_are_named_nowhere_become_traits_where_the_mapping_says_so(read: Read) -> None:
    """But for those that are left out."""
    answer = read(
        "who,plan,city,secret\na,pro,Oslo,x\n", SEEN + "rest: traits\nleave_out: [secret]\ntraits: {town: city}"
    )

    assert answer.of("traits") == [{"town": "Oslo", "plan": "pro"}]


def test_lines_of_json_are_mapped_by_paths(read: Read) -> None:
    """Numbers as ids become text, values stay what they are."""
    mapping = (
        "id: j\ntype: track\nevent: name\nuserId: user.id\nproperties: {city: address.city, n: n}\nrest: properties\n"
    )
    mapping = mapping.replace("event: name", "event: {column: name}")
    lines = [
        '{"user":{"id":17},"name":"Seen","address":{"city":"Oslo"},"n":[1],"more":null,"x":true}',
        "[]",
        "{",
        '{"name":"Seen"}',
    ]
    answer = read("\n".join(lines), mapping, "e.jsonl")

    assert answer.of("userId") == ["17"]
    assert answer.of("properties") == [
        {"city": "Oslo", "n": [1], "user": {"id": 17}, "address": {"city": "Oslo"}, "x": True}
    ]
    assert [number for number, _ in answer.bad] == [2, 3, 4]


@pytest.mark.parametrize("depth", [199, 200, 300, 1000])
@pytest.mark.parametrize(
    "more", ["", "skip: {column: deep, eq: a}", "properties: {deep: {column: deep, type: number}}", "messageId: deep"]
)
def test_a_row_of_many_levels_is_a_bad_row_and_does_not_end_the_import(read: Read, more: str, depth: int) -> None:
    """--resume would have come to it again and again."""
    deep = b'{"u": "ada", "deep": ' + b"[" * depth + b"]" * depth + b"}"
    answer = read(deep + b'\n{"u": "bob"}', f"id: a\ntype: page\nuserId: u\n{more}", name="a.jsonl")

    assert "bob" == answer.of("userId")[-1]
    assert (depth == 199 and not more.endswith(("number}}", "deep"))) == (not answer.bad)


def test_a_row_has_the_same_message_id_whenever_it_is_read(read: Read) -> None:
    """Two rows that are alike have two; another mapping's id, or another file, has all anew."""
    data = "who\nann\nann\n"
    first, second = read(data, SEEN).of("messageId")

    assert first != second
    assert read(data + "bob\n", SEEN).of("messageId")[:2] == [first, second]
    assert read(gzip.compress(data.encode()), SEEN, "orders.csv.gz").of("messageId") == [first, second]
    for others in (read(data, SEEN.replace("seen", "other")), read(data, SEEN, "other.csv")):
        assert not {first, second} & set(others.of("messageId"))


def test_a_message_id_that_a_row_has_is_kept(read: Read) -> None:
    """It may be known already."""
    assert read("who,id\nann,7\n", SEEN + "messageId: {column: id, prefix: o-}").of("messageId") == ["o-7"]


def test_the_example_of_baskets_is_what_the_journey_makes_of_them(read: Read) -> None:
    """Two ways to the same events, of all 155,848 baskets the first so many."""
    import journey

    data = gzip.decompress((ROOT / "tests/data/complete_journey_baskets.csv.gz").read_bytes())
    part = b"".join(data.splitlines(keepends=True)[:2001])
    mapping = (ROOT / "deploy/imports/baskets.yaml").read_text()
    answer = read(part, mapping, "complete_journey_baskets.csv")
    assert (len(answer.events), answer.bad) == (2000, [])
    orders = dict(itertools.islice(((made["messageId"], (at_ms, made)) for at_ms, made in journey._orders(None)), 2000))
    for event in answer.events:
        at_ms, made = orders[event["messageId"]]
        assert {key: event[key] for key in made} == made
        assert journey.instant_ms(event["timestamp"]) == at_ms


def test_the_example_of_contacts_reads_what_spreadsheets_write(read: Read) -> None:
    """Windows' letters, decimal commas, days first."""
    data = (
        "E-Mail;Name;Plan;Umsatz;Newsletter;Seit;Status\r\n"
        "Ann@Example.com;Ann Müller;P;1.234,50;ja;31.12.2025 18:30;aktiv\r\n"
        "bob@example.com;-;X;k. A.;nein;01.07.2025 00:00;gelöscht\r\n"
        "cid@example.com;-;X;k. A.;nein;01.07.2025 00:00;aktiv\r\n"
    )
    answer = read(data.encode("cp1252"), (ROOT / "deploy/imports/contacts.yaml").read_text(), "contacts.csv")

    assert answer.bad == []
    ann = {"email": "ann@example.com", "name": "Ann Müller", "plan": "pro", "revenue": 1234.5, "newsletter": True}
    cid = {"email": "cid@example.com", "plan": "unknown", "newsletter": False}
    assert answer.of("traits") == [
        ann | {"since": "2025-12-31T17:30:00.000Z"},
        cid | {"since": "2025-06-30T22:00:00.000Z"},
    ]
    assert answer.of("userId") == ["ann@example.com", "cid@example.com"]


# ---- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"who,x\nann,1\nbob,2\n",
        b"who,x\nann,1\nbob,2",
        b"\xef\xbb\xbfwho,x\r\nann,1\r\nbob,2\r\n",
        b'"who","x"\n"ann","1"\n\n"bob","2"\n\n',
        b"x,who,y\n1,ann,\n2,bob,\n",
    ],
)
def test_a_file_is_read_whoever_wrote_it(read: Read, data: bytes) -> None:
    """With or without a mark of UTF-8, with either end of line, quotes, blank lines."""
    answer = read(data, SEEN)

    assert (answer.of("userId"), answer.bad) == (["ann", "bob"], [])


def test_cells_have_commas_quotes_lines_and_megabytes_in_them(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they end in another block; numbers of lines are those of an editor."""
    monkeypatch.setattr("streams.event_lines.BLOCK_BYTES", 64)
    large = "x" * 1_000_000
    data = f'who,t,left_out\nann,"one, ""two""\nthree",\nbob,,{large}\n,,\ncid,nul\0é,\n'
    answer = read(data, SEEN + "traits: {t: t}")

    assert answer.of("traits", "t") == ['one, "two"\nthree', None, "nul\0é"]
    assert [number for number, _ in answer.bad] == [5]


def test_an_event_that_is_too_large_is_a_bad_row(read: Read) -> None:
    """The worker would reject it."""
    answer = read(f"who,t\nann,{'x' * 300_000}\nbob,\n", SEEN + "traits: {t: t}")

    assert answer.bad[0][1].startswith("expected at most 262144 bytes")
    assert answer.of("userId") == ["bob"]


def test_bytes_that_are_no_text_make_their_row_bad(read: Read) -> None:
    """The others of the block are taken, and the mapping says in which encoding it would be text."""
    data = b"who,n\nann,M\xfcller\nbob,\xc3\xbc\n"
    answer = read(data, SEEN + "traits: {n: n}")
    assert answer.of("traits", "n") == ["ü"]
    assert answer.bad == [(2, "expected text in utf-8, got bytes that are none; is `encoding` another?")]

    assert read(data, SEEN + "traits: {n: n}\nencoding: latin-1").of("traits", "n") == ["Müller", "Ã¼"]


def test_rows_with_other_columns_than_the_header_are_bad(read: Read) -> None:
    """A comma too many shifts what comes behind it."""
    answer = read("who,x\nann\nbob,1,2\ncid,1\n", SEEN)

    assert answer.bad == [(2, "expected 2 columns, got 1"), (3, "expected 2 columns, got 3")]
    assert answer.of("userId") == ["cid"]


def test_a_quote_that_is_not_closed_costs_its_own_line(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the file and in a file that goes on for longer than a row may be."""
    answer = read('who,x\nann,1\nbob,"2\ncid,3\n', SEEN)
    assert (answer.of("userId"), [number for number, _ in answer.bad]) == (["ann", "cid"], [3])

    monkeypatch.setattr(imports_rows, "ROW_BYTES_MAX", 1000)
    monkeypatch.setattr("streams.event_lines.BLOCK_BYTES", 256)
    answer = read('who,x\nann,1\nbob,"2\n' + "cid,3\n" * 1000, SEEN)
    assert (answer.of("userId"), [number for number, _ in answer.bad]) == (["ann", *["cid"] * 1000], [3])


def test_a_quote_in_the_wrong_place_makes_its_row_bad(read: Read) -> None:
    """Nothing is guessed."""
    answer = read('who,x\nann,5" pipe\nbob,"5" pipe"\ncid,1\n', SEEN + "traits: {x: x}")

    assert answer.of("traits", "x") == ['5" pipe', "1"]
    assert answer.bad == [(3, "expected CSV, got ',' expected after '\"'")]


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"", "o.csv", "o.csv: expected a first line with the columns' names, got nothing"),
        (b"ann,1\n", "o.csv", "expected a column 'who' (userId), found none of that name; it has: 'ann', '1'"),
        (b"Who\nann\n", "o.csv", "found none of that name (did you mean 'Who'?)"),
        (b"\x1b[2J\0\nann\n", "o.csv", "it has: '\\x1b[2J\\x00'"),
        (
            b"who\rann\rbob\r",
            "o.csv",
            "o.csv:1: expected the columns' names: expected CSV, got a line that ends with CR alone",
        ),
        (b"who,who\nann,1\n", "o.csv", "expected each column once, got 'who' 2 times"),
        ("who\nann\n".encode("utf-16"), "o.csv", "expected UTF-8 or `encoding`, got UTF-16"),
        (b"who\nann\n", "o.dat", "expected a name that ends in .csv .tsv .jsonl .ndjson, or `format` in the mapping"),
        (b"who\nann\n", "o.csv.gz", "expected gzip, got Not a gzipped file"),
    ],
)
def test_a_file_that_the_mapping_is_not_for_is_refused(read: Read, data: bytes, name: str, expected: str) -> None:
    """Before anything of it is published."""
    with pytest.raises(InputError) as raised:
        read(data, SEEN, name)

    assert expected in str(raised.value)


def test_a_file_without_a_header_has_its_columns_named_by_the_mapping(read: Read) -> None:
    """An empty one has no rows then."""
    mapping = SEEN + "header: [who, x]\nformat: csv\ndelimiter: '|'"

    assert read("ann|1\n", mapping, "o.dat").of("userId") == ["ann"]
    assert read("", mapping, "o.dat").events == []


CELLS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=6) | st.sampled_from(
    ['"', "\n", ",", "\r\n", "a"]
)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=12), st.integers(1, 40))
def test_what_the_csv_module_writes_is_read_as_it_was_in_blocks_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, written: list[list[str]], block: int
) -> None:
    """And from each place between two rows on, the rest is."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([["a", "b"], *written])
    with pytest.MonkeyPatch.context() as patch, open_blocks(str(path), "a file") as file:
        patch.setattr("streams.event_lines.BLOCK_BYTES", block)
        reading = CsvRows(file, "utf-8", ",", None)
        found: list[Any] = []
        positions = []
        for given_rows in reading:
            found += [cells for _, cells in given_rows]
            positions.append((reading.position, len(found)))
        assert found == written
        for position, count in positions:
            reading.go_to(position)
            assert [cells for given_rows in reading for _, cells in given_rows] == written[count:]


@given(st.binary(max_size=200), st.integers(1, 64))
def test_no_bytes_do_more_than_become_bad_rows(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, block: int
) -> None:
    """And no line of them is passed over."""
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(b"a,b\n" + data)
    with pytest.MonkeyPatch.context() as patch, open_blocks(str(path), "a file") as file:
        patch.setattr("streams.event_lines.BLOCK_BYTES", block)
        reading = CsvRows(file, "utf-8", ",", None)
        rows = [row for given_rows in reading for row in given_rows]
        assert reading.position.offset == path.stat().st_size
    assert all(isinstance(cells, list | Malformed) for _, cells in rows)
    numbers: Sequence[int] = [number for number, _ in rows]
    assert list(numbers) == sorted(set(numbers))


ANY = """
id: any
type: {column: t, values: {a: identify, b: group}, else: track}
event: {column: e}
groupId: {column: g}
userId: {column: u, lower: true}
timestamp: {column: at, zone: Europe/Berlin}
skip: [{column: s, prefix: x}, {column: s, in: [y]}]
rest: properties
properties:
  a: {column: x, type: number, decimal: ","}
  b: {column: x, type: boolean}
  c: {column: x, type: instant, format: seconds}
  d: {column: x, type: list}
  e: {column: x, type: json}
  f: {column: x, type: instant, format: "%Y %m %d"}
"""
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["1", "2026-03-01"])
)
JSON = st.recursive(SCALARS, lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text(max_size=2), i, max_size=3))


@given(st.dictionaries(st.sampled_from(["t", "e", "g", "u", "at", "s", "x", "more"]), JSON), st.sampled_from("abcdef"))
def test_no_object_does_more_than_become_a_bad_row(row: dict[str, Any], kept: str) -> None:
    """Whatever a mapping asks of it."""
    mapping = read_mapping(ANY, "m")
    mapping = dataclasses.replace(mapping, properties={kept: mapping.properties[kept]})
    events = Events(mapping, None, "any.jsonl", live=False, arrives_then=False)
    try:
        line = json.dumps(row).encode()
        routed = events(1, line)
    except Unroutable as error:
        assert str(error).startswith("expected")
    else:
        assert routed is None or routed.problem is None


@given(
    st.lists(
        st.text(max_size=12) | st.sampled_from(["1", "9" * 400, "1e308", "2026-03-01 10:00:00"]), min_size=8, max_size=8
    )
)
def test_no_cells_do_more_than_become_a_bad_row(cells: list[str]) -> None:
    """The same of CSV."""
    mapping = read_mapping(ANY, "m")
    columns = ["t", "e", "g", "u", "at", "s", "x", "more"]
    for name in mapping.properties:
        one = dataclasses.replace(mapping, properties={name: mapping.properties[name]})
        try:
            Events(one, columns, "any.csv", live=False, arrives_then=False)(1, cells)
        except Unroutable as error:
            assert str(error).startswith("expected")


# ---- places --------------------------------------------------------------------------------------------------------


def _begin(path: Path, *, broker: str = "127.0.0.1:9092", mapping: str = SEEN, **options: Any) -> Any:
    return open_import(str(path), read_mapping(mapping, "m"), load_settings({"TIDEGATE_BROKER": broker}), **options)


def _break_off(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """Has Kafka acknowledge the first block, and the import end before the second."""
    monkeypatch.setattr("streams.event_lines.BLOCK_BYTES", 20)

    class Killed(Exception):
        pass

    with pytest.raises(Killed), _begin(path, **options) as imported:
        for number, row in next(iter(imported)):
            try:
                imported.route(number, row)
            except Unroutable:
                pass
        imported.acknowledged(imported.place())
        raise Killed


def test_an_import_goes_on_behind_what_kafka_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is read once; when it is through there is nothing to go on with."""
    path = tmp_path / "o.csv"
    path.write_text("who\n" + "".join(f"c-{n}\n" for n in range(100)))
    _break_off(path, monkeypatch)
    with _begin(path, resume=True) as imported:
        assert 0 < imported.start.events == imported.start.lines - 1 < 100
        first = imported.start.events
        answer = Answer(imported)
        assert answer.of("userId") == [f"c-{n}" for n in range(first, 100)]
    with _begin(path, resume=True) as imported:
        assert imported.start.done
        assert imported.start.events == 100


def test_an_import_of_gzip_goes_on_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are in what is unpacked."""
    path = tmp_path / "o.csv.gz"
    path.write_bytes(gzip.compress(b"who\n" + b"".join(b"c-%d\n" % n for n in range(100))))
    _break_off(path, monkeypatch)
    with _begin(path, resume=True) as imported:
        first = imported.start.events
        assert first and Answer(imported).of("userId") == [f"c-{n}" for n in range(first, 100)]


def test_an_import_that_was_begun_is_not_begun_again_by_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the dedup horizon all of it would count twice; into another Kafka, or of a newer file, it may be."""
    path = tmp_path / "o.csv"
    path.write_text("who\n" + "ann\n" * 100)
    _break_off(path, monkeypatch)
    with pytest.raises(InputError, match="--resume goes on there"), _begin(path):
        pass
    with pytest.raises(InputError, match=r"Kafka .* is another one now"), _begin(path, broker="b:1", resume=True):
        pass
    with (
        pytest.raises(InputError, match="mapping is another one now"),
        _begin(path, mapping=SEEN + "rest: traits", resume=True),
    ):
        pass
    # half of it marked as past, and half not, is what nobody means
    with pytest.raises(InputError, match="--live is another one now"), _begin(path, live=True, resume=True):
        pass
    with _begin(path, broker="b:1"):
        pass
    path.write_text("who\n" + "ann\n" * 101)
    with pytest.raises(InputError, match="the file is another one now"), _begin(path, broker="b:1", resume=True):
        pass
    with _begin(path):
        pass
    with pytest.raises(InputError, match="was imported whole"), _begin(path):
        pass


@pytest.mark.parametrize("junk", [b"", b"{}", b'{"offset": -1, "about": 5}', b"\xff"])
def test_a_place_that_cannot_be_read_is_said(tmp_path: Path, junk: bytes) -> None:
    """With what to do."""
    path = tmp_path / "o.csv"
    path.write_text("who\nann\n")
    Path(f"{path}.seen.import").write_bytes(junk)
    with pytest.raises(InputError, match="without that file, the import begins anew"), _begin(path, resume=True):
        pass


def test_bad_rows_are_kept_to_be_mended_once_each_also_over_a_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written behind the place is written again, and read it is a file of its own."""
    path, bad = tmp_path / "o.csv", tmp_path / "bad.csv"
    path.write_text("who,x\n" + 'ann,"1\n2"\n,"3\n4"\n' * 20 + "bob\n")
    _break_off(path, monkeypatch, bad=str(bad))
    with bad.open("ab") as file:
        file.write(b"rows of blocks that Kafka never had\n")
    with _begin(path, resume=True, bad=str(bad)) as imported:
        answer = Answer(imported)
    assert answer.place.bad == 21
    assert bad.read_text() == "who,x\n" + ',"3\n4"\n' * 20 + "bob\n"


def test_bad_rows_that_were_mended_stay_so_where_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    """They were cut where the file of them had ended."""
    path, bad = tmp_path / "o.csv", tmp_path / "bad.csv"
    path.write_text("who,x\n,1\nann,2\n")
    with _begin(path, bad=str(bad)) as imported:
        Answer(imported)
    assert bad.read_text() == "who,x\n,1\n"

    bad.write_text("who,x\nsomebody@example.com,1\n")
    for _ in range(2):
        with _begin(path, resume=True, bad=str(bad)) as imported:
            assert imported.start.done
    assert bad.read_text() == "who,x\nsomebody@example.com,1\n"


def test_the_file_of_bad_rows_is_never_the_one_that_is_imported(tmp_path: Path) -> None:
    """It would be emptied."""
    path = tmp_path / "o.csv"
    path.write_text("who\nann\n")
    with pytest.raises(InputError, match="expected a file of its own for bad rows"), _begin(path, bad=str(path)):
        pass
    assert path.read_text() == "who\nann\n"


def test_a_pipe_has_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't be read from its middle."""
    monkeypatch.chdir(tmp_path)
    mapping = read_mapping(SEEN + "format: csv\nheader: [who]", "m")
    begun = open_import("-", mapping, load_settings({}), resume=True)
    with pytest.raises(InputError, match="expected a file with --resume"), begun:
        pass
