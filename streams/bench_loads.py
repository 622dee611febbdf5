"""What `tidegate bench core` steps the core through: definitions and lines of events, the same at each run.

Of a load's definitions the first ten are those that its events touch; what is added to come to a hundred or ten thousand
asks for events that never come. So any cost that grows with them is one that an event pays for what it doesn't touch.
"""

import dataclasses
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.instants import format_instant
from streams.errors import StreamsError

Definition = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAY_MS = 86_400_000
SPAN_DAYS = 30
NAMES = 20
EVENTS_A_CONTACT = 15
SEED = 42


@dataclasses.dataclass(frozen=True)
class Load:
    """Events and what is asked of them. `busy`: ten definitions; `whole`: others as a file has them, all of them in use."""

    name: str
    lines: list[bytes]
    busy: list[Definition]
    whole: dict[str, list[Definition]]


def grown(busy: list[Definition], count: int) -> list[Definition]:
    """`count` definitions: `busy`, and others that no event of a load touches."""
    return [*busy, *(_untouched(index) for index in range(count - len(busy)))]


def _untouched(index: int) -> Definition:
    rolling = {"event": f"Other {index % 997}", "within": f"{1 + index // 997}d", "count": {"gte": 1 + index % 5}}
    when = rolling if index % 3 else {"all": [{"trait": f"other_{index % 97}", "eq": index}, rolling]}
    return {"id": f"other-{index}", "when": when}


# ---- generated ---------------------------------------------------------------------------------------------------------


def generated(events: int) -> Load:
    """A month of events of 20 names, contacts unevenly busy; each is asked for by five of the busy definitions."""
    busy = [
        {
            "id": f"busy-{index}",
            "when": {
                "event": [f"Event {(index * 2 + name) % NAMES}" for name in range(NAMES // 2)],
                "within": f"{1 + 3 * index}d",
                "count": {"gte": 3 + index},
            },
        }
        for index in range(10)
    ]
    return Load("generated", list(generated_lines(events)), busy, {"segments": rolling_counts(100)})


def rolling_counts(count: int) -> list[Definition]:
    """So many segments of one rolling count each, evenly over the names."""
    return [
        {
            "id": f"rolling-{index}",
            "when": {
                "event": f"Event {index % NAMES}",
                "within": f"{2 + 4 * (index // NAMES)}d",
                "count": {"gte": 2 + index // NAMES},
            },
        }
        for index in range(count)
    ]


def generated_lines(events: int) -> Iterator[bytes]:
    """Lines in order of arrival: two in a hundred are an hour late at most, two write traits."""
    rng = random.Random(SEED)
    contacts, arrived_ms = max(1, events // EVENTS_A_CONTACT), float(START_MS)
    for index in range(events):
        arrived_ms += rng.random() * 2 * SPAN_DAYS * DAY_MS / events
        contact = f"contact-{int(contacts * rng.random() ** 2):06d}"
        at_ms = int(arrived_ms) - (rng.randrange(3_600_000) if rng.random() < 0.02 else 0)
        if rng.random() < 0.02:
            yield identify_line(index, contact, at_ms, int(arrived_ms))
        else:
            yield track_line(index, contact, rng.randrange(NAMES), at_ms, int(arrived_ms))


def track_line(index: int, contact: str, name: int, at_ms: int, arrived_ms: int) -> bytes:
    """An event of 400 bytes, as an SDK sends it."""
    return (
        f'{{"messageId":"m-{index:010d}","type":"track","event":"Event {name}","userId":"{contact}",'
        f'"timestamp":"{format_instant(at_ms)}","receivedAt":"{format_instant(arrived_ms)}",'
        f'"properties":{{"order_id":"o-{index:09d}","total":{index % 500}.25,"currency":"EUR","sku":"sku-{index % 20000}"}},'
        '"context":{"locale":"fr-FR","ip":"10.1.2.3","library":{"name":"js","version":"4.1.0"},'
        f'"page":{{"path":"/shop/products/category-{index % 40}","referrer":"https://search.example/"}}}}}}'
    ).encode()


def identify_line(index: int, contact: str, at_ms: int, arrived_ms: int) -> bytes:
    """An event that writes five traits, one of which changes now and then."""
    return (
        f'{{"messageId":"m-{index:010d}","type":"identify","userId":"{contact}",'
        f'"timestamp":"{format_instant(at_ms)}","receivedAt":"{format_instant(arrived_ms)}",'
        f'"traits":{{"email":"{contact}@shop.example","plan":"{("free", "pro")[index % 2]}","country":"FR",'
        '"created_at":"2025-11-03T08:15:00.000Z","language":"fr"}}'
    ).encode()


# ---- real --------------------------------------------------------------------------------------------------------------

_ORDER = "Order Completed"
_GROCER: dict[str, Any] = {
    "regulars": {"event": _ORDER, "within": "4w", "count": {"gte": 4}},
    "big-spenders": {"event": _ORDER, "within": "30d", "sum": {"of": "total", "gte": 300}},
    "lapsed": {"event": _ORDER, "last_at": {"older_than": "30d"}},
    "newcomers": {"event": _ORDER, "count": {"between": [1, 3]}},
    "fuel": {"event": _ORDER, "where": {"departments": {"has": "FUEL"}}, "within": "2w", "count": {"gte": 2}},
    "large-baskets": {"event": _ORDER, "where": {"total": {"gte": 100}}, "within": "3d"},
    "coupon-fans": {"event": "Coupon Redeemed", "within": "90d", "count": {"gte": 3}},
    "redeemed": {"event": "Coupon Redeemed", "within": "30d"},
    "mailed": {"event": "Email Delivered", "within": "7d"},
    "mailed-type-a": {"event": "Email Delivered", "where": {"campaign_type": "Type A"}, "within": "30d"},
}


def journey(events: int) -> Load | None:
    """The Complete Journey's baskets, coupons and mailings; an order touches six of the busy definitions.

    None where there is no checkout to make them from (`deploy/journey.py`, `tests/data/`); raises `StreamsError` where
    that fails.
    """
    script, segments = ROOT / "deploy" / "journey.py", ROOT / "deploy" / "segments" / "journey.yaml"
    if not script.exists():
        return None
    argv = [sys.executable, str(script), "--until", "2026-03-01T00:00:00Z", "--limit", str(events)]
    made = subprocess.run(argv, capture_output=True, check=False)
    if made.returncode:
        raise StreamsError(f"{script.name}: expected events of real customers, got\n{made.stderr.decode()[-1000:]}")
    busy = [{"id": id, "when": when} for id, when in _GROCER.items()]
    return Load("Complete Journey", made.stdout.splitlines(), busy, _definitions(segments))


def _definitions(file: Path) -> dict[str, list[Definition]]:
    import yaml

    definitions: dict[str, list[Definition]] = yaml.safe_load(file.read_text())
    return definitions
