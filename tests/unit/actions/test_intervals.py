"""Confidence intervals, against figures that others have published."""

import pytest

from actions.intervals import difference_of_means, difference_of_shares, share

# Newcombe, Statistics in Medicine 17 (1998), 873-890, table II, method 10
NEWCOMBE = [
    ((56, 70, 48, 80), (0.0524, 0.3339)),
    ((9, 10, 3, 10), (0.1705, 0.8090)),
    ((6, 7, 2, 7), (0.0582, 0.8062)),
    ((5, 56, 0, 29), (-0.0381, 0.1926)),
    ((0, 10, 0, 20), (-0.1611, 0.2775)),
    ((10, 10, 0, 20), (0.6791, 1.0000)),
]
# Student's sleep data; `t.test(extra ~ group, data = sleep)` of R's manual says -3.3654832 and 0.2054832
SLEEP = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_OTHER = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


@pytest.mark.parametrize(("groups", "expected"), NEWCOMBE)
def test_differences_of_shares_are_as_newcombe_printed_them(
    groups: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    found = difference_of_shares(*groups)

    assert expected == pytest.approx((found.low, found.high), abs=6e-5)


def test_a_share_has_the_interval_that_newcombe_printed_for_wilsons_score() -> None:
    """81 of 263: the same journal and year, 857-872, table I."""
    found = share(81, 263)

    assert (0.2553, 0.3662) == pytest.approx((found.low, found.high), abs=6e-5)


def test_a_difference_of_means_is_as_r_has_it() -> None:
    found = difference_of_means(SLEEP, SLEEP_OTHER)

    assert found is not None
    assert (-3.3654832, 0.2054832) == pytest.approx((found.low, found.high), abs=1e-6)


def test_means_of_one_contact_and_means_that_never_vary_have_no_interval() -> None:
    assert difference_of_means([1.0], [1.0, 2.0]) is None
    assert difference_of_means([0.0, 0.0], [0.0, 0.0, 0.0]) is None


def test_where_nobody_of_one_group_bought_anything_there_is_an_interval() -> None:
    """With one group constant, Welch's t is that of the other alone: 2 ± t(0.975; 2 df) = 4.302653 times 1/sqrt(3)."""
    found = difference_of_means([1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0])

    assert found is not None
    assert (2 - 2.484138, 2 + 2.484138) == pytest.approx((found.low, found.high), abs=1e-5)
