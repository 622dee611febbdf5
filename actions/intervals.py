"""Confidence intervals, 95 %, of the difference between two groups of contacts; scipy is imported when one is asked for.

Of shares: Newcombe's hybrid score interval (1998, method 10), made of the Wilson interval of each share; it holds for small
groups and for shares near 0 and 1, where the textbook's does not. Of means: Welch's t, which takes no two groups to vary
alike. A bootstrap (BCa) would bend better to skewed orders, but takes as many passes as there are contacts, and a seed.
"""

import math
import warnings
from collections.abc import Sequence

import msgspec

LEVEL = 0.95
OF_SHARES = "Newcombe's hybrid score interval of Wilson intervals (scipy.stats.binomtest), 95 %"
OF_MEANS = "Welch's t interval (scipy.stats.ttest_ind, unequal variances), 95 %"


class Interval(msgspec.Struct, frozen=True):
    """From `low` to `high`, closed."""

    low: float
    high: float


def share(count: int, of: int) -> Interval:
    """Wilson's interval of the share `count / of`; `of` is at least 1."""
    from scipy import stats

    found = stats.binomtest(count, of).proportion_ci(LEVEL, method="wilson")
    return Interval(float(found.low), float(found.high))


def difference_of_shares(count: int, of: int, other_count: int, other_of: int) -> Interval:
    """Newcombe's interval of `count / of - other_count / other_of`; each group has at least one."""
    first, second = count / of, other_count / other_of
    one, other = share(count, of), share(other_count, other_of)
    below = math.hypot(first - one.low, other.high - second)
    above = math.hypot(one.high - first, second - other.low)
    return Interval(first - second - below, first - second + above)


def difference_of_means(values: Sequence[float], others: Sequence[float]) -> Interval | None:
    """Welch's interval of the mean of `values` less that of `others`.

    None with fewer than two of either, and where neither varies.
    """
    if len(values) < 2 or len(others) < 2 or (_same(values) and _same(others)):
        return None
    from scipy import stats

    with warnings.catch_warnings():
        # one group alike in itself is no mistake: nobody bought anything
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.ttest_ind(values, others, equal_var=False).confidence_interval(LEVEL)
    return Interval(float(found.low), float(found.high))


def _same(values: Sequence[float]) -> bool:
    return min(values) == max(values)
