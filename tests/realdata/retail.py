"""Real events from Online Retail (tests/data/README.md): an invoice is an `Order Completed` or an `Order Refunded`.

The contact is the customer. An invoice happened at the first minute that one of its lines names, on the clocks of
London. What was taken back counts negative, in `quantity` as in `total`, as it does in the source.
"""

from __future__ import annotations

import csv
import lzma
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

LINES = Path(__file__).resolve().parent.parent / "data" / "online_retail.csv.xz"
LONDON = ZoneInfo("Europe/London")

Event = dict[str, Any]
Row = dict[str, str]


def events() -> list[Event]:
    """All events in order of time, those of one minute in order of their invoices' numbers."""
    invoices: dict[str, list[Row]] = defaultdict(list)
    with lzma.open(LINES, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            invoices[row["InvoiceNo"]].append(row)
    made = [(_happened(rows), number, rows) for number, rows in invoices.items()]
    return [_event(at, number, rows) for at, number, rows in sorted(made, key=lambda one: one[:2])]


def _happened(rows: list[Row]) -> datetime:
    first = min(row["InvoiceDate"] for row in rows)
    return datetime.fromisoformat(first).replace(tzinfo=LONDON).astimezone(UTC)


def _event(at: datetime, number: str, rows: list[Row]) -> Event:
    # With London's offset, as a shop there would write it: +01:00 in summer.
    timestamp = at.astimezone(LONDON).isoformat()
    total = sum((int(row["Quantity"]) * Decimal(row["UnitPrice"]) for row in rows), Decimal(0))
    return {
        "type": "track",
        "event": "Order Refunded" if number.startswith("C") else "Order Completed",
        "userId": f"customer-{rows[0]['CustomerID']}",
        "messageId": f"invoice-{number}",
        "timestamp": timestamp,
        "receivedAt": timestamp,
        "context": {"traits": {"country": rows[0]["Country"]}},
        "properties": {
            "order_id": number,
            "total": float(total),
            "currency": "GBP",
            "quantity": sum(int(row["Quantity"]) for row in rows),
            "products": [
                {
                    "product_id": row["StockCode"],
                    "quantity": int(row["Quantity"]),
                    "price": float(row["UnitPrice"]),
                }
                for row in rows
            ],
        },
    }
