"""What the segments of `retail.yaml` must do with Online Retail, by pandas from the file's own columns.

Money is in thousandths of a pound, as four lines have a price of 0.001. Each answer is a function of a `Grid`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from tests.realdata.grid import (
    DAY_MS,
    Bools,
    Dues,
    Grid,
    Ints,
    Local,
    Matches,
    column,
    held_dues,
    sorted_by_unit,
    transitions,
    unbroken_ms,
)
from tests.realdata.scores import Rule, Score

LINES = Path(__file__).resolve().parent.parent / "data" / "online_retail.csv.xz"
ZONE = "Europe/London"
NEAR = ["United Kingdom", "Germany", "France", "EIRE"]


@cache
def events() -> pd.DataFrame:
    """All invoices in order of arrival: by time, then by number."""
    lines = pd.read_csv(LINES, dtype={"InvoiceNo": str, "StockCode": str}, keep_default_na=False)
    lines["mills"] = (lines["UnitPrice"] * 1000).round().astype(np.int64) * lines["Quantity"]
    lines["hearts"] = lines["StockCode"].str.startswith("85123") & (lines["Quantity"] >= 6)
    found = lines.groupby("InvoiceNo", as_index=False).agg(
        customer=("CustomerID", "first"),
        country=("Country", "first"),
        date=("InvoiceDate", "min"),
        mills=("mills", "sum"),
        quantity=("Quantity", "sum"),
        hearts=("hearts", "any"),
    )
    local = pd.DatetimeIndex(pd.to_datetime(found["date"])).tz_localize(ZONE, ambiguous="raise", nonexistent="raise")
    found["at_ms"] = local.tz_convert("UTC").as_unit("ms").asi8
    found["contact"] = "customer-" + found["customer"].astype(str)
    found["message_id"] = "invoice-" + found["InvoiceNo"]
    found["order"] = ~found["InvoiceNo"].str.startswith("C")
    return found.sort_values(["at_ms", "InvoiceNo"], ignore_index=True)


def expected(segment: str, contacts: set[str], until_ms: int) -> pd.DataFrame:
    """Every transition of a segment up to `until_ms`, as `grid.transitions` has them."""
    chosen = events()
    grid_of, answer = SEGMENTS[segment]
    grid = grid_of(sorted_by_unit(chosen[chosen["contact"].isin(contacts)]), until_ms)
    return transitions(grid, answer(grid))


# ---- month-spenders ----


def _month_grid(frame: pd.DataFrame, until_ms: int) -> Grid:
    unit, at_ms = column(frame, "unit"), column(frame, "at_ms")
    local = Local(at_ms, ZONE)
    ends = [local.month_ms(1), local.day_ms(7), at_ms + 30 * DAY_MS]
    return Grid(frame, until_ms, *(Dues(unit, end_ms) for end_ms in ends))


def _month(grid: Grid) -> Bools:
    local = Local(grid.at_ms, ZONE)
    invoices, refunds = Matches(grid, np.full(len(grid.events), True)), _refunds(grid)
    spent = invoices.total("mills", invoices.since(local.month_ms()))
    clean = refunds.stop == refunds.since(local.day_ms(-6))
    return (spent >= 500_000) & clean & (grid.first_seen_ms() <= grid.at_ms - 30 * DAY_MS)


# ---- took-back-and-left ----


def _back_grid(frame: pd.DataFrame, until_ms: int) -> Grid:
    grid = Grid(frame, until_ms)
    return grid.with_dues(_refunds(grid).dues(30 * DAY_MS, 90 * DAY_MS))


def _back(grid: Grid) -> Bools:
    """For each row and each refund of its unit that counts: it is 30 to 90 days old, and no order came in the 30."""
    orders = _orders(grid)
    refunds = grid.events.loc[_after_big_order(grid), ["unit", "at_ms"]].rename(columns={"at_ms": "back_ms"})
    rows = pd.DataFrame({"unit": grid.unit, "row": np.arange(len(grid.unit)), "stop": orders.stop})
    pairs = rows.merge(refunds, on="unit")
    unit, back_ms = column(pairs, "unit"), column(pairs, "back_ms")
    through_ms, at_ms = back_ms + 30 * DAY_MS, grid.at_ms[column(pairs, "row")]
    ordered = np.minimum(np.searchsorted(orders.keys, grid.keys(unit, through_ms), "right"), column(pairs, "stop"))
    silent = ordered <= np.searchsorted(orders.keys, grid.keys(unit, back_ms), "right")
    answers = pairs["row"][silent & (through_ms <= at_ms) & (at_ms < through_ms + 60 * DAY_MS)]
    return np.isin(np.arange(len(grid.unit)), answers)


def _after_big_order(grid: Grid) -> Bools:
    """The refunds with an order of 100 pounds or more in the 14 days before, the very instant left out."""
    frame = grid.events
    unit, at_ms = column(frame, "unit"), column(frame, "at_ms")
    big = Matches(grid, frame["order"] & (frame["mills"] >= 100_000))
    before = np.searchsorted(big.keys, grid.keys(unit, at_ms), "left")
    oldest = np.searchsorted(big.keys, grid.keys(unit, at_ms - 14 * DAY_MS), "left")
    return (before > oldest) & ~frame["order"].to_numpy(bool)


# ---- lapsed-regulars ----


def _lapsed_grid(frame: pd.DataFrame, until_ms: int) -> Grid:
    grid = Grid(frame, until_ms)
    grid = grid.with_dues(_orders(grid).dues(45 * DAY_MS))
    return grid.with_dues(held_dues(grid, _quiet(grid), 10 * DAY_MS))


def _quiet(grid: Grid) -> Bools:
    orders = _orders(grid)
    paid_last = grid.latest("mills") > 0
    return (orders.stop - orders.begin >= 3) & (orders.last_ms() <= grid.at_ms - 45 * DAY_MS) & paid_last


def _lapsed(grid: Grid) -> Bools:
    quiet = _quiet(grid)
    return quiet & (unbroken_ms(grid, quiet) >= 10 * DAY_MS) & np.isin(grid.latest("country"), NEAR)


# ---- warm-accounts ----


def _warmth(frame: pd.DataFrame) -> Score:
    return Score(
        half_life_ms=14 * DAY_MS,
        rules=[
            Rule(frame["order"], 15),
            Rule(frame["order"] & (frame["mills"] >= 300_000), 20, expires_ms=30 * DAY_MS),
            Rule(~frame["order"], -10),
            Rule(frame["order"] & (frame["quantity"] >= 1000), 5, lasting=True),
        ],
    )


def _warm_grid(frame: pd.DataFrame, until_ms: int) -> Grid:
    score = _warmth(frame)
    grid = score.with_expiries(Grid(frame, until_ms))
    return score.with_crossings(grid, 30 - _abroad_points(grid))


def _warm(grid: Grid) -> Bools:
    total = np.clip(_warmth(grid.events).value(grid) + _abroad_points(grid), 0, 75)
    return (total >= 30) & (total <= 75)


def _abroad_points(grid: Grid) -> Ints:
    return np.where(grid.latest("country") != "United Kingdom", 8, 0)


# ---- light-lovers ----


def _light_grid(frame: pd.DataFrame, until_ms: int) -> Grid:
    grid = Grid(frame, until_ms)
    return grid.with_dues(_orders(grid).dues(*(days * DAY_MS for days in (7, 90, 120, 180))))


def _light(grid: Grid) -> Bools:
    orders, hearts = _orders(grid), Matches(grid, grid.events["order"] & grid.events["hearts"])
    biggest = orders.extreme(np.maximum, "mills", orders.within(120 * DAY_MS), orders.within(7 * DAY_MS))
    smallest = orders.extreme(np.minimum, "quantity", orders.within(180 * DAY_MS), orders.stop)
    return (hearts.stop > hearts.within(90 * DAY_MS)) & (biggest >= 150_000) & (smallest > 20)


SEGMENTS: dict[str, tuple[Callable[[pd.DataFrame, int], Grid], Callable[[Grid], Bools]]] = {
    "month-spenders": (_month_grid, _month),
    "took-back-and-left": (_back_grid, _back),
    "lapsed-regulars": (_lapsed_grid, _lapsed),
    "warm-accounts": (_warm_grid, _warm),
    "light-lovers": (_light_grid, _light),
}


def _orders(grid: Grid) -> Matches:
    return Matches(grid, grid.events["order"])


def _refunds(grid: Grid) -> Matches:
    return Matches(grid, ~grid.events["order"])
