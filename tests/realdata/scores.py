"""Scores that decay, from whole columns: every rule's events at once, and the instants at which a threshold is crossed.

The arithmetic is numpy's `longdouble`, of 64 bits of mantissa or more: one in 10^18 against the one in 10^10 that a
decay of days changes in a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.realdata.grid import Bools, Dues, Grid, Ints, Matches, column

Reals = NDArray[np.longdouble]


@dataclass(frozen=True)
class Rule:
    """Points for each event that `mask` selects: decaying, or in full until they expire, or (`lasting`) for ever."""

    mask: pd.Series | Bools
    points: int
    expires_ms: int = 0
    lasting: bool = False


@dataclass(frozen=True)
class Score:
    """The rules of a score, and the half-life of those that say nothing else."""

    half_life_ms: int
    rules: list[Rule]

    def value(self, grid: Grid) -> Reals:
        """For each row, the sum of the points, not clamped."""
        return self._decaying(grid) + self._steady(grid)

    def with_expiries(self, grid: Grid) -> Grid:
        """The grid with the steps at which points expire."""
        expiries = [Matches(grid, rule.mask).dues(rule.expires_ms) for rule in self.rules if rule.expires_ms]
        return grid.with_dues(*expiries)

    def with_crossings(self, grid: Grid, threshold: int | Ints) -> Grid:
        """The grid with the steps at which decay takes the score across a threshold; it has the expiries already."""
        return grid.with_dues(self._crossings(grid, threshold - self._steady(grid)))

    def _steady(self, grid: Grid) -> Ints:
        points = np.zeros(len(grid.unit), np.int64)
        for rule in self.rules:
            if rule.expires_ms or rule.lasting:
                matches = Matches(grid, rule.mask)
                points += rule.points * (
                    matches.stop - (matches.within(rule.expires_ms) if rule.expires_ms else matches.begin)
                )
        return points

    def _decaying(self, grid: Grid) -> Reals:
        """Events weigh the more the later they are, the sum is then brought down to each row's own time."""
        points = np.zeros(len(grid.events), np.int64)
        for rule in self.rules:
            if not rule.expires_ms and not rule.lasting:
                points += np.where(rule.mask, rule.points, 0)
        unit, at_ms = column(grid.events, "unit"), column(grid.events, "at_ms")
        begins = np.flatnonzero(np.append(True, unit[1:] != unit[:-1]))
        first_ms = np.repeat(at_ms[begins], np.diff(np.append(begins, len(unit))))
        weights = points * self._power(at_ms - first_ms)
        # A sum for each unit: one over all of them would lose the digits of the smaller ones.
        sums = np.concatenate([np.cumsum(part) for part in np.split(weights, begins[1:])])
        return sums[grid.seen - 1] / self._power(grid.at_ms - first_ms[grid.seen - 1])

    def _crossings(self, grid: Grid, target: Ints) -> Dues:
        """For each row, the milliseconds around the instant at which what decays equals `target`, before the next row.

        A decaying sum keeps its sign and only gets smaller: it can meet a target that has its sign and is nearer 0.
        """
        decaying = self._decaying(grid)
        row = np.flatnonzero((target != 0) & (np.abs(decaying) >= np.abs(target)) & (decaying * target > 0))
        halvings = np.log2(decaying[row] / target[row])
        after_ms = np.floor(halvings * self.half_life_ms).astype(np.int64)
        next_ms = np.append(np.where(grid.unit[1:] == grid.unit[:-1], grid.at_ms[1:], grid.until_ms), grid.until_ms)
        around = [(row, grid.at_ms[row] + after_ms + each) for each in (-1, 0, 1, 2)]
        early = [(rows[at_ms <= next_ms[rows]], at_ms[at_ms <= next_ms[rows]]) for rows, at_ms in around]
        return Dues(grid.unit[np.concatenate([rows for rows, _ in early])], np.concatenate([at for _, at in early]))

    def _power(self, age_ms: Ints) -> Reals:
        return np.exp2(age_ms.astype(np.longdouble) / self.half_life_ms)
