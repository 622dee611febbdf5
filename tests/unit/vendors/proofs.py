"""What every proof must hold: one byte changed anywhere isn't believed. And who is in a segment after a vendor's events."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from schemas.transitions import Transition
from segments.check import load_data
from segments.simulate import simulate
from streams.vendors.contract import Doubt, Unproved, Vendor
from tests.unit.vendors.payloads import NOW_MS, request

URL = "https://gateway.example/v1/webhooks/vendor/connection"


def doubt(
    vendor: Vendor, body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now_ms: int = NOW_MS
) -> Doubt | None:
    """Why the request isn't believed; None where it is."""
    try:
        vendor.prove(request(body, headers), secrets, now_ms)
    except Unproved as unproved:
        return unproved.doubt
    return None


def check_every_byte(
    vendor: Vendor, body: bytes, headers: Mapping[str, str], secret: str, now_ms: int, *, signed: bool = True
) -> None:
    """Believed as it is and with the secret among others, and not with another secret or one character changed anywhere.

    `signed`: the body is what is proved; a login proves whatever comes with it.
    """
    assert doubt(vendor, body, headers, [secret], now_ms) is None
    assert doubt(vendor, body, headers, ["another:secret", secret], now_ms) is None
    assert doubt(vendor, body, headers, ["another:secret"], now_ms) is not None
    assert doubt(vendor, body, headers, [secret + "x"], now_ms) is not None
    assert doubt(vendor, body, {}, [secret], now_ms) in ("no_signature", "no_login")
    for at in range(len(body)) if signed else ():
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        assert doubt(vendor, changed, headers, [secret], now_ms) is not None, f"byte {at} of the body"
    for name, value in headers.items():
        for at in range(len(value)):
            other = "0" if value[at] != "0" else "1"
            changed_headers = {**headers, name: value[:at] + other + value[at + 1 :]}
            assert doubt(vendor, body, changed_headers, [secret], now_ms) is not None, f"character {at} of {name}"


def in_segment(when: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> set[str]:
    """The contacts for whom the condition is true after these events, in the order in which they arrived."""
    definitions = load_data({"segments": [{"id": "asked", "when": when}]})
    inside: set[str] = set()
    for one in simulate(definitions, [orjson.dumps(event) for event in events]):
        assert isinstance(one, Transition), one
        (inside.add if one.transition == "entered" else inside.discard)(one.contact)
    return inside
