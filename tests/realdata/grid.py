"""Answers from whole columns at once: what the segments of this folder must do, computed without any of our own code.

A *unit* is a contact, or a contact with a key. Its events are sorted by time, then by arrival. A `Grid` has a row for
each step of a unit at which an answer can change: one for each of its events, and one for each instant at which time
alone may change one (`dues`; too many do no harm, one too few does). `Matches` counts events in windows as of each row,
each by two binary searches in one sorted column. An answer is a column of booleans; `transitions` are its changes.

Only for histories in which every event arrives when it happened.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Reals = NDArray[np.floating]
Bools = NDArray[np.bool_]

UNIT_MS = np.int64(1) << 42  # more than a history lasts, so that unit * UNIT_MS + time sorts by unit first
DAY_MS = 24 * 60 * 60 * 1000
HOUR_MS = 60 * 60 * 1000
TIMER = -1

COLUMNS = ["contact", "key", "seq", "transition", "at_ms", "cause", "message_id"]


class Dues(NamedTuple):
    """Instants at which an answer of a unit may change by time alone."""

    unit: Ints
    at_ms: Ints


class Grid:
    """The steps of all units up to `until_ms`, sorted.

    Columns: `unit`, `at_ms`, `event` (row of `events` that the step applies, `TIMER` for none) and `seen`, the number
    of rows of `events`, this one with it, that come before the next step: all of the unit's that it knows, and all of
    the units before it.
    """

    def __init__(self, events: pd.DataFrame, until_ms: int, *dues: Dues) -> None:
        """`events`: columns `unit`, `at_ms`, `message_id` and what the answers need, sorted by unit, time, arrival."""
        self.events, self.until_ms, self.dues = events, until_ms, dues
        self._begin_ms = int(events["at_ms"].min()) - 1
        self.event_keys = self.keys(column(events, "unit"), column(events, "at_ms"))
        assert (np.diff(self.event_keys) >= 0).all(), "expected events sorted by unit and time"
        due_keys = self._timers(dues)
        keys = np.concatenate([self.event_keys, due_keys])
        event = np.concatenate([np.arange(len(events)), np.full(len(due_keys), TIMER)])
        order = np.argsort(keys, kind="stable")
        self.event = event[order]
        self.unit, self.at_ms = keys[order] // UNIT_MS, keys[order] % UNIT_MS + self._begin_ms
        self.seen = np.where(self.event == TIMER, np.searchsorted(self.event_keys, keys[order]), self.event + 1)

    def keys(self, unit: Ints, at_ms: Ints) -> Ints:
        """One number for unit and time, that sorts by both; an instant before all events becomes one such."""
        return unit * UNIT_MS + np.clip(at_ms - self._begin_ms, 0, UNIT_MS - 1)

    def with_dues(self, *dues: Dues) -> Grid:
        """The same with more steps."""
        return Grid(self.events, self.until_ms, *self.dues, *dues)

    def _timers(self, dues: tuple[Dues, ...]) -> Ints:
        """Keys of the instants that are steps of their own: after the unit's first event, at none of its events."""
        if not dues:
            return np.empty(0, np.int64)
        unit = np.concatenate([due.unit for due in dues])
        at_ms = np.concatenate([due.at_ms for due in dues])
        first = np.searchsorted(self.event_keys, unit * UNIT_MS)
        first_ms = column(self.events, "at_ms")[np.minimum(first, len(self.events) - 1)]
        keys = np.unique(self.keys(unit, at_ms)[(at_ms > first_ms) & (at_ms <= self.until_ms)])
        return keys[~np.isin(keys, self.event_keys)]

    def first_seen_ms(self) -> Ints:
        """For each row, the time of the unit's first event."""
        return column(self.events, "at_ms")[np.searchsorted(self.event_keys, self.unit * UNIT_MS)]

    def latest(self, name: str) -> NDArray[np.object_]:
        """For each row, what the unit's newest event has in this column."""
        return self.events[name].to_numpy(object)[self.seen - 1]


class Matches:
    """The events of a grid that `mask` selects, as each row knows them: those from `begin` to `stop`."""

    def __init__(self, grid: Grid, mask: pd.Series | Bools) -> None:
        self.grid = grid
        self.rows = np.flatnonzero(np.asarray(mask))
        self.keys = grid.event_keys[self.rows]
        self.begin = np.searchsorted(self.keys, grid.unit * UNIT_MS)
        self.stop = np.searchsorted(self.rows, grid.seen)

    def column(self, name: str) -> Ints:
        """A column of the matching events."""
        return column(self.grid.events, name)[self.rows]

    def after(self, instants_ms: Ints) -> Ints:
        """For each row, where the matches later than this instant begin."""
        return np.minimum(np.searchsorted(self.keys, self.grid.keys(self.grid.unit, instants_ms), "right"), self.stop)

    def since(self, instants_ms: Ints) -> Ints:
        """For each row, where the matches at or after this instant begin."""
        return np.minimum(np.searchsorted(self.keys, self.grid.keys(self.grid.unit, instants_ms), "left"), self.stop)

    def within(self, window_ms: int) -> Ints:
        """For each row at t, where the matches in (t - window, t] begin."""
        return self.after(self.grid.at_ms - window_ms)

    def total(self, name: str, begin: Ints) -> Ints:
        """For each row, the sum of a column of whole numbers over its matches from `begin` on."""
        sums = np.concatenate([[0], np.cumsum(self.column(name))])
        return sums[self.stop] - sums[begin]

    def extreme(self, of: np.ufunc, name: str, begin: Ints, stop: Ints) -> Reals:
        """For each row, the least (`np.minimum`) or greatest of a column over the matches from `begin` to `stop`.

        NaN where there is none, which is neither more nor less than any number.
        """
        values = np.append(self.column(name), 0)
        return np.where(begin < stop, of.reduceat(values, np.column_stack([begin, stop]).ravel())[::2], np.nan)

    def last_ms(self) -> Ints:
        """For each row, the time of its last match; far in the future where there is none."""
        instants_ms = np.append(self.column("at_ms"), 0)
        return np.where(self.begin < self.stop, instants_ms[self.stop - 1], UNIT_MS)

    def counts_by(self, name: str, begin: Ints) -> pd.Series:
        """The number of matches from `begin` on, by row (level `row`) and value of a column; rows without one lack."""
        number = self.stop - begin
        row = np.repeat(np.arange(len(number)), number)
        offset = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
        value = self.column(name)[np.repeat(begin, number) + offset]
        return pd.DataFrame({"row": row, "value": value}).groupby(["row", "value"]).size()

    def dues(self, *later_ms: int) -> Dues:
        """The instants so long after each match."""
        unit, at_ms = self.column("unit"), self.column("at_ms")
        return Dues(np.tile(unit, len(later_ms)), np.concatenate([at_ms + each for each in later_ms]))


def column(frame: pd.DataFrame, name: str) -> Ints:
    """A column of whole numbers."""
    return frame[name].to_numpy(np.int64)


def sorted_by_unit(events: pd.DataFrame) -> pd.DataFrame:
    """Events in order of arrival, with `unit` (the number of the contact) and sorted by it and by time."""
    unit = pd.factorize(events["contact"])[0]
    return events.assign(unit=unit).sort_values(["unit", "at_ms"], kind="stable", ignore_index=True)


def by_row(grid: Grid, counts: pd.Series) -> Ints:
    """A series by row number as a column; 0 where it has none."""
    return counts.reindex(range(len(grid.unit)), fill_value=0).to_numpy(np.int64)


def unbroken_ms(grid: Grid, answer: Bools) -> Ints:
    """For each row, how long the answer has been what it is there, without a break."""
    changed = np.append(True, (answer[1:] != answer[:-1]) | (grid.unit[1:] != grid.unit[:-1]))
    began = np.maximum.accumulate(np.where(changed, np.arange(len(answer)), 0))
    return grid.at_ms - grid.at_ms[began]


def held_dues(grid: Grid, answer: Bools, *durations_ms: int) -> Dues:
    """The instants so long after each change of the answer."""
    row = np.flatnonzero(unbroken_ms(grid, answer) == 0)
    at_ms = np.concatenate([grid.at_ms[row] + each for each in durations_ms])
    return Dues(np.tile(grid.unit[row], len(durations_ms)), at_ms)


def hold(grid: Grid, answer: Bools, enter_ms: int, leave_ms: int) -> Bools:
    """Membership that follows the answer once it has been true (false) for so long; the grid has the `held_dues`."""
    settled = unbroken_ms(grid, answer) >= np.where(answer, enter_ms, leave_ms)
    followed = pd.Series(np.where(settled, answer.astype(float), np.nan)).groupby(grid.unit).ffill()
    return followed.fillna(0).to_numpy() == 1


def transitions(grid: Grid, member: Bools) -> pd.DataFrame:
    """The changes of membership, numbered, with what brought them; `COLUMNS`, sorted by unit and `seq`."""
    before = np.where(np.append(True, grid.unit[1:] != grid.unit[:-1]), False, np.append(False, member[:-1]))
    row = np.flatnonzero(member != before)
    event = grid.event[row]
    of_unit = grid.events.drop_duplicates("unit").set_index("unit").loc[grid.unit[row]]
    found = pd.DataFrame({"unit": grid.unit[row], "at_ms": grid.at_ms[row]})
    found["seq"] = found.groupby("unit").cumcount() + 1
    found["transition"] = np.where(member[row], "entered", "left")
    found["cause"] = np.where(event == TIMER, "timer", "event")
    ids = grid.events["message_id"].to_numpy(object)[np.maximum(event, 0)]
    found["message_id"] = np.where(event == TIMER, "", ids)
    found["contact"] = of_unit["contact"].to_numpy(object)
    found["key"] = of_unit["key"].to_numpy(object) if "key" in of_unit else ""
    return found[COLUMNS]


class Local:
    """Instants on the clocks of a zone."""

    def __init__(self, at_ms: Ints, zone: str) -> None:
        self.zone = zone
        self.clock = pd.DatetimeIndex(pd.to_datetime(at_ms, unit="ms", utc=True)).tz_convert(zone).tz_localize(None)

    def minute(self) -> Ints:
        """Whole minutes since midnight."""
        return np.asarray(self.clock.hour * 60 + self.clock.minute, np.int64)

    def weekday(self) -> Ints:
        """0 for Monday to 6 for Sunday."""
        return np.asarray(self.clock.day_of_week, np.int64)

    def day_ms(self, later: int = 0) -> Ints:
        """The instant at which the day began, or one so many days later (earlier)."""
        return self._midnight_ms(self.clock.normalize() + pd.Timedelta(days=later))

    def week_ms(self, later: int = 0) -> Ints:
        """The instant at which the week began, or one so many weeks later (earlier)."""
        monday = self.clock.normalize() - pd.to_timedelta(self.weekday(), unit="D")
        return self._midnight_ms(monday + pd.Timedelta(weeks=later))

    def month_ms(self, later: int = 0) -> Ints:
        """The instant at which the month began, or one so many months later (earlier)."""
        return self._midnight_ms((self.clock.to_period("M") + later).to_timestamp())

    def _midnight_ms(self, days: pd.DatetimeIndex) -> Ints:
        instants = days.tz_localize(self.zone, nonexistent="shift_forward", ambiguous=np.ones(len(days), bool))
        return np.asarray(instants.tz_convert("UTC").as_unit("ms").asi8, np.int64)
