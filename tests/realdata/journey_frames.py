"""What the segments of `journey.yaml` must do with the Complete Journey, by pandas from the files' own columns.

Money is in whole cents. Each answer is a function of a `Grid` whose dues `DUES` gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from tests.realdata.grid import (
    DAY_MS,
    HOUR_MS,
    Bools,
    Dues,
    Grid,
    Local,
    Matches,
    by_row,
    column,
    held_dues,
    hold,
    sorted_by_unit,
    transitions,
)
from tests.realdata.scores import Rule, Score

DATA = Path(__file__).resolve().parent.parent / "data"
ZONE = "America/New_York"
FIRST_MINUTE, LAST_MINUTE = 9 * 60, 20 * 60 + 30
DELICACIES = {"DELI", "SEAFOOD", "MEAT-PCKGD"}


@cache
def events() -> pd.DataFrame:
    """All events in order of arrival: by time, then coupons, baskets, mailings, then by id."""
    found = pd.concat([_baskets(), _redemptions(), _mailings()], ignore_index=True)
    found["rank"] = found["name"].map({"Coupon Redeemed": 0, "Order Completed": 1, "Email Delivered": 2})
    numbers = ["cents", "coupon_cents", "store_id", "campaign_id"]
    found[numbers] = found[numbers].fillna(0).astype(np.int64)
    return found.fillna({"campaign_type": "", "delicacies": False}).sort_values(["at_ms", "rank", "message_id"])


def expected(segment: str, contacts: set[str], until_ms: int) -> pd.DataFrame:
    """Every transition of a segment up to `until_ms`, as `grid.transitions` has them."""
    chosen = events()
    grid_of, answer = SEGMENTS[segment]
    grid = grid_of(sorted_by_unit(chosen[chosen["contact"].isin(contacts)]), until_ms)
    return transitions(grid, answer(grid))


# ---- good-customers ----


def _good_grid(frame: pd.DataFrame, until_ms: int) -> Grid:
    grid = Grid(frame, until_ms)
    grid = grid.with_dues(_orders(grid).dues(30 * DAY_MS))
    return grid.with_dues(held_dues(grid, _spends_well(grid), 12 * HOUR_MS, 3 * DAY_MS))


def _spends_well(grid: Grid) -> Bools:
    orders = _orders(grid)
    begin = orders.within(30 * DAY_MS)
    number, cents = orders.stop - begin, orders.total("cents", begin)
    return (cents >= 200_00) & (cents >= 25_00 * number) & (number >= 3) & (number <= 40)


def _good(grid: Grid) -> Bools:
    return hold(grid, _spends_well(grid), 12 * HOUR_MS, 3 * DAY_MS)


# ---- steady-shoppers ----


def _steady_grid(frame: pd.DataFrame, until_ms: int) -> Grid:
    grid = Grid(frame, until_ms)
    weeks = _orders(grid).dues(*(week * 7 * DAY_MS for week in range(1, 9)))
    return grid.with_dues(weeks, _orders(grid).dues(9 * DAY_MS + 12 * HOUR_MS))


def _steady(grid: Grid) -> Bools:
    real = Matches(grid, _named(grid, "Order Completed") & (grid.events["cents"] >= 10_00))
    begins = [real.within(weeks * 7 * DAY_MS) for weeks in range(1, 9)]
    with_one = sum((stop > begin).astype(int) for stop, begin in zip([real.stop, *begins], begins, strict=False))
    last_ms = _orders(grid).last_ms()
    return (with_one >= 6) & ~(last_ms <= grid.at_ms - (9 * DAY_MS + 12 * HOUR_MS))


# ---- unmoved-by-campaign ----


def _campaign_grid(frame: pd.DataFrame, until_ms: int) -> Grid:
    """A unit is a household and a campaign it was mailed; all events of the household are steps of it."""
    mailed = frame.loc[frame["name"] == "Email Delivered", ["contact", "campaign_id"]]
    assert not mailed.duplicated().any(), "expected each campaign to be mailed to a household once"
    keys = mailed.rename(columns={"campaign_id": "key"}).reset_index(drop=True)
    keys["unit"] = np.arange(len(keys))
    both = frame.drop(columns="unit").reset_index(names="arrival").merge(keys, on="contact")
    both = both.sort_values(["unit", "arrival"], ignore_index=True)
    good = _good_grid(both.assign(key=both["key"].astype(str), own=both["key"] == both["campaign_id"]), until_ms)
    return good.with_dues(_mailings_of_key(good).dues(14 * DAY_MS, 44 * DAY_MS))


def _unmoved(grid: Grid) -> Bools:
    mailed_ms = _mailings_of_key(grid).last_ms()
    through_ms = mailed_ms + 14 * DAY_MS
    coupons = Matches(grid, _named(grid, "Coupon Redeemed") & grid.events["own"])
    ignored = coupons.after(through_ms) == coupons.after(mailed_ms)
    return ignored & (through_ms <= grid.at_ms) & (grid.at_ms < through_ms + 30 * DAY_MS) & _good(grid)


def _mailings_of_key(grid: Grid) -> Matches:
    return Matches(grid, _named(grid, "Email Delivered") & grid.events["own"])


# ---- coupon-hunters ----


def _bargains(frame: pd.DataFrame) -> Score:
    orders = frame["name"] == "Order Completed"
    return Score(
        half_life_ms=10 * DAY_MS,
        rules=[
            Rule(frame["name"] == "Coupon Redeemed", 12),
            Rule(orders & (frame["coupon_cents"] > 0), 6),
            Rule(orders & frame["delicacies"].astype(bool), 2, expires_ms=6 * DAY_MS),
            Rule((frame["name"] == "Email Delivered") & (frame["campaign_type"] == "Type A"), -3),
        ],
    )


def _hunter_grid(frame: pd.DataFrame, until_ms: int) -> Grid:
    score = _bargains(frame)
    return score.with_crossings(score.with_expiries(Grid(frame, until_ms)), 20)


def _hunter(grid: Grid) -> Bools:
    return np.maximum(_bargains(grid.events).value(grid), 0) >= 20


# ---- weekend-regulars ----


def _weekend_grid(frame: pd.DataFrame, until_ms: int) -> Grid:
    unit, local = column(frame, "unit"), Local(column(frame, "at_ms"), ZONE)
    ends = [local.week_ms(4), local.month_ms(1), local.month_ms(2)]
    return Grid(frame, until_ms, *(Dues(unit, end_ms) for end_ms in ends))


def _weekend(grid: Grid) -> Bools:
    local, happened = Local(grid.at_ms, ZONE), Local(column(grid.events, "at_ms"), ZONE)
    by_day = (happened.weekday() >= 5) & (FIRST_MINUTE <= happened.minute()) & (happened.minute() < LAST_MINUTE)
    weekend, orders = Matches(grid, _named(grid, "Order Completed") & by_day), _orders(grid)
    often = weekend.stop - weekend.since(local.week_ms(-3)) >= 4
    stores = orders.counts_by("store_id", orders.since(local.month_ms(-1))).groupby("row").size()
    in_one = orders.counts_by("store_id", orders.since(local.month_ms())).groupby("row").max()
    return often & (by_row(grid, stores) >= 2) & (by_row(grid, in_one) >= 3)


SEGMENTS: dict[str, tuple[Callable[[pd.DataFrame, int], Grid], Callable[[Grid], Bools]]] = {
    "good-customers": (_good_grid, _good),
    "steady-shoppers": (_steady_grid, _steady),
    "unmoved-by-campaign": (_campaign_grid, _unmoved),
    "coupon-hunters": (_hunter_grid, _hunter),
    "weekend-regulars": (_weekend_grid, _weekend),
}


def _named(grid: Grid, name: str) -> pd.Series:
    return grid.events["name"] == name


def _orders(grid: Grid) -> Matches:
    return Matches(grid, _named(grid, "Order Completed"))


# ---- the files ----


def _baskets() -> pd.DataFrame:
    rows = pd.read_csv(
        DATA / "complete_journey_baskets.csv.gz", parse_dates=["transaction_timestamp"], keep_default_na=False
    )
    delicacies = {text: not DELICACIES.isdisjoint(text.split("|")) for text in rows["departments"].unique()}
    return pd.DataFrame(
        {
            "contact": "household-" + rows["household_id"].astype(str),
            "at_ms": _utc_ms(rows["transaction_timestamp"]),
            "name": "Order Completed",
            "message_id": "basket-" + rows["basket_id"].astype(str),
            "cents": (rows["sales_value"] * 100).round().astype(np.int64),
            "coupon_cents": (rows["coupon_disc"] * 100).round().astype(np.int64),
            "store_id": rows["store_id"],
            "delicacies": rows["departments"].map(delicacies),
        }
    )


def _redemptions() -> pd.DataFrame:
    columns = ["household_id", "coupon_upc", "campaign_id", "redemption_date"]
    rows = pd.read_csv(DATA / "complete_journey_coupon_redemptions.csv.gz", dtype=str)
    message_id = "coupon-" + rows[columns].agg("-".join, axis=1)
    message_id += "-" + (rows.groupby(columns).cumcount() + 1).astype(str)
    return _by_day(rows, message_id, rows["redemption_date"], "Coupon Redeemed")


def _mailings() -> pd.DataFrame:
    campaigns = pd.read_csv(DATA / "complete_journey_campaign_descriptions.csv.gz", dtype=str)
    rows = pd.read_csv(DATA / "complete_journey_campaigns.csv.gz", dtype=str).merge(campaigns, on="campaign_id")
    message_id = "mailing-" + rows["campaign_id"] + "-" + rows["household_id"]
    return _by_day(rows, message_id, rows["start_date"], "Email Delivered").assign(campaign_type=rows["campaign_type"])


def _by_day(rows: pd.DataFrame, message_id: pd.Series, day: pd.Series, name: str) -> pd.DataFrame:
    """Events of which the file knows the day alone: the id's hash says when on it."""
    digests = [hashlib.sha256(each.encode()).digest() for each in message_id]
    time_ms = [int.from_bytes(digest[:8], "big") % DAY_MS for digest in digests]
    return pd.DataFrame(
        {
            "contact": "household-" + rows["household_id"],
            "at_ms": _utc_ms(pd.to_datetime(day)) + np.array(time_ms, np.int64),
            "name": name,
            "message_id": message_id,
            "campaign_id": rows["campaign_id"].astype(np.int64),
        }
    )


def _utc_ms(times: pd.Series) -> pd.Series:
    return times.astype("datetime64[ms]").astype(np.int64)
