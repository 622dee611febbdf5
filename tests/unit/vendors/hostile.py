"""What nobody should send, for every vendor: arbitrary JSON, published payloads with parts replaced or gone, odd headers.

A vendor's test is two lines each:

    test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, PAYLOADS)
    test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [SIGNATURE], secret="whsec_one")
"""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.events import EVENT_BYTES_MAX
from schemas.rejected import Rejection
from streams.vendors.contract import Unproved, Unsignable, Vendor
from tests.unit.vendors.payloads import NOW_MS, events, parsed, request

# what readers trip over: ends of ranges, numbers as text, text that is nearly something, empty things
ODD = (
    *(None, True, False, 0, -1, 2**53 + 1, 2**63, -(2**63), 2**64, 10**400, 0.0, -0.5, 1e308, 5e-324, 1e15),
    *("", " ", "0", "-1", "1e400", "1999", "19.99", "NaN", "Infinity", "null", "\u0000", "\U0001f600", "٣", "x" * 1100),
    *("2026-13-01", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+23:59", "1700000000", "99999999999999999999"),
    *("ada@example.com", "@", "ISK", "jpy", "JPY" * 40, [], {}, [None], [[]], {"": None}, [{}], {"id": {}}),
)


def anything(leaves: int = 12) -> st.SearchStrategy[Any]:
    """JSON of any kind."""
    scalars = st.sampled_from(ODD) | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=leaves,
    )


@st.composite
def spoiled(draw: st.DrawFn, payloads: Sequence[Any]) -> Any:
    """One of the payloads with one to six of its parts replaced by anything, gone, doubled, or taken from another place."""
    # by number, as Hypothesis writes out what it samples from
    body = copy.deepcopy(payloads[draw(st.integers(0, len(payloads) - 1))])
    for _ in range(draw(st.integers(1, 6))):
        places = list(_places(body))
        if not places:
            return draw(anything())
        parent, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(("replaced", "replaced", "gone", "doubled", "moved")))
        if change == "gone":
            del parent[key]
        elif change == "doubled":
            parent[key] = [parent[key], copy.deepcopy(parent[key])]
        elif change == "moved":
            other, there = draw(st.sampled_from(places))
            parent[key] = copy.deepcopy(other[there])
        else:
            # a copy, as the next change may be one of its parts: strategies hand out the same objects again
            parent[key] = copy.deepcopy(draw(anything(4)))
    return body


def reading(
    vendor: Vendor,
    payloads: Sequence[Any],
    *,
    encode: Callable[[Any], bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    examples: int = 100,
) -> Callable[[], None]:
    """A test that `read` and `events_of` raise nothing but `Rejection`, and that workers can read what they make.

    `encode` makes a body of a payload, as JSON unless it is given (forms, XML); `headers` come with every request.
    """
    encoded = encode or _json
    deep = b'{"a":' * 400 + b"1" + b"}" * 400
    bodies = st.one_of(spoiled(payloads).map(encoded), anything().map(encoded), anything().map(_json), st.binary())

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies)
    @example(b"")
    @example(b"\xff\xfe")
    @example(b"null")
    @example(b"[]")
    @example(b"{}")
    @example(b"[[]]")
    @example(b'{"a":1,"a":2}')
    @example(deep)
    @example(b"[" * 100_000)
    def test(body: bytes) -> None:
        try:
            made = events(vendor, request(body, headers))
        except Rejection as rejection:
            assert rejection.sentence
            return
        for each in made:
            if len(orjson.dumps(each)) <= EVENT_BYTES_MAX:  # what is more, the gateway refuses as it refuses others'
                parsed(each)

    return test


def proving(
    vendor: Vendor, names: Sequence[str], *, secret: str = "a-secret-of-tests", examples: int = 100
) -> Callable[[], None]:
    """A test that `prove` raises nothing but `Unproved`, whatever the headers (those of these names, and others) and body."""
    pieces = st.sampled_from(
        ("t=", "v1=", "ts=", "h1=", "v1,", ",", ";", "=", " ", "1790000000", "1790000000000", "00", "Basic ")
    )
    written = st.lists(pieces | st.text(max_size=20), max_size=12).map("".join) | st.just("a" * 10_000)
    headers = st.dictionaries(
        st.sampled_from([*names, "Authorization", "Content-Type"]), written, max_size=len(names) + 2
    )
    try:
        signed = vendor.sign(vendor.sample(NOW_MS), secret, "https://gateway.example/", NOW_MS)
    except Unsignable:
        signed = {}
    if "Authorization" in signed:  # a login proves whatever comes with it
        signed = {}

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary() | anything().map(_json), headers | st.just(signed))
    def test(body: bytes, sent: dict[str, str]) -> None:
        try:
            vendor.prove(request(body, sent), [secret, "another-secret:of-tests"], NOW_MS)
        except Unproved as unproved:
            assert str(unproved) and secret not in str(unproved)
            return
        raise AssertionError(f"expected doubt, got none with {sent}")

    return test


def _json(value: Any) -> bytes:
    # not orjson, which writes no number beyond 64 bits
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """Each part of a value, as what holds it and the key or index there."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield value, key
            yield from _places(item)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield value, at
            yield from _places(item)
