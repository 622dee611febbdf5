"""Real events from "The Complete Journey" (tests/data/README.md), one JSON object a line, in order of time.

A basket is an `Order Completed`, a redeemed coupon a `Coupon Redeemed`, a mailed campaign an `Email Delivered`; the
contact is the household. All times are shifted by one constant, so that the last event is one second before `--until`.

    python deploy/journey.py                        # all 164,539 events, until now
    python deploy/journey.py --households 300       # all events of 300 households, always the same ones

The same arguments give the same bytes. Where a row has a day and no time, a hash of the row gives it one in that day.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
DAY_MS = 24 * 60 * 60 * 1000
LAST_BEFORE_UNTIL_MS = 1000
SOURCES = ("baskets", "coupon_redemptions", "campaigns")

Event = dict[str, Any]
Row = dict[str, str]

# The source topics in the order in which a worker takes records of one instant: product, billing, email.
RANKS = {"Coupon Redeemed": 0, "Order Completed": 1, "Email Delivered": 2}


def events(until_ms: int, *, households: int | None = None, limit: int | None = None) -> list[Event]:
    """Events in order of time, the last one second before `until_ms` (epoch ms).

    `households` keeps that many of them, each with its whole history; `limit` the first so many events.
    """
    kept = _sample(households)
    chosen = [*_orders(kept), *_redemptions(kept), *_mailings(kept)]
    chosen.sort(key=lambda pair: (pair[0], RANKS[pair[1]["event"]], pair[1]["messageId"]))
    chosen = chosen[:limit]
    if not chosen:
        return []
    shift_ms = until_ms - LAST_BEFORE_UNTIL_MS - chosen[-1][0]
    return [_at(at_ms + shift_ms, event) for at_ms, event in chosen]


def instant_ms(text: str) -> int:
    """Epoch ms of an ISO 8601 instant; one without an offset is in UTC. Raises ValueError for anything else."""
    instant = datetime.fromisoformat(text)
    return round((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)


def _orders(kept: set[str] | None) -> Iterator[tuple[int, Event]]:
    for row in _rows("baskets", kept):
        properties = {
            "order_id": row["basket_id"],
            "total": float(row["sales_value"]),
            "currency": "USD",
            "quantity": int(row["quantity"]),
            "lines": int(row["lines"]),
            "store_id": row["store_id"],
            "retail_disc": float(row["retail_disc"]),
            "coupon_disc": float(row["coupon_disc"]),
            "departments": [name for name in row["departments"].split("|") if name],
        }
        message_id = f"basket-{row['basket_id']}"
        yield instant_ms(row["transaction_timestamp"]), _event("Order Completed", row, message_id, properties)


def _redemptions(kept: set[str] | None) -> Iterator[tuple[int, Event]]:
    seen: Counter[str] = Counter()
    for row in _rows("coupon_redemptions", kept):
        coupon = f"coupon-{row['household_id']}-{row['coupon_upc']}-{row['campaign_id']}-{row['redemption_date']}"
        seen[coupon] += 1  # two of one kind on one day are two redemptions
        message_id = f"{coupon}-{seen[coupon]}"
        properties = {"coupon_id": row["coupon_upc"], "campaign_id": row["campaign_id"]}
        event = _event("Coupon Redeemed", row, message_id, properties)
        yield _within_day(row["redemption_date"], message_id), event


def _mailings(kept: set[str] | None) -> Iterator[tuple[int, Event]]:
    campaigns = {row["campaign_id"]: row for row in _rows("campaign_descriptions")}
    for row in _rows("campaigns", kept):
        campaign = campaigns[row["campaign_id"]]
        message_id = f"mailing-{row['campaign_id']}-{row['household_id']}"
        properties = {"campaign_id": row["campaign_id"], "campaign_type": campaign["campaign_type"]}
        event = _event("Email Delivered", row, message_id, properties)
        yield _within_day(campaign["start_date"], message_id), event


def _event(name: str, row: Row, message_id: str, properties: dict[str, Any]) -> Event:
    contact = f"household-{row['household_id']}"
    return {"type": "track", "event": name, "userId": contact, "messageId": message_id, "properties": properties}


def _at(at_ms: int, event: Event) -> Event:
    seconds, ms = divmod(at_ms, 1000)
    text = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"
    return {**event, "timestamp": text, "receivedAt": text}


def _within_day(day: str, message_id: str) -> int:
    return instant_ms(day) + _hash(message_id) % DAY_MS


def _sample(households: int | None) -> set[str] | None:
    """The household ids to keep, None for all: those of the lowest hashes, so that samples nest."""
    if households is None:
        return None
    known = {row["household_id"] for name in SOURCES for row in _rows(name)}
    return set(sorted(known, key=lambda household: (_hash(household), household))[:households])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _rows(name: str, kept: set[str] | None = None) -> Iterator[Row]:
    """The rows of a file; with `kept`, those of these households."""
    with gzip.open(DATA / f"complete_journey_{name}.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if kept is None or row["household_id"] in kept:
                yield row


def main() -> None:
    """The command line: events to standard output, their number to standard error."""
    parser = argparse.ArgumentParser(description="Real events of a grocer's customers, as JSON lines.")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N events")
    parser.add_argument("--households", type=int, metavar="N", help="only N households, each with its whole history")
    parser.add_argument(
        "--until", type=instant_ms, metavar="INSTANT", help="the last is a second before (default: now)"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that has seen enough is no error
    until_ms = round(time.time() * 1000) if arguments.until is None else arguments.until
    made = events(until_ms, households=arguments.households, limit=arguments.limit)
    for event in made:
        sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")
    print(f"{len(made):,} events", file=sys.stderr)


if __name__ == "__main__":
    main()
