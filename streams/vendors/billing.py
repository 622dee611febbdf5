"""What the vendors of billing have in common: which traits a subscription sets, and what it comes to in a month.

A contact has one set of these traits, so that of two subscriptions the one that was told last is what they say. A subscription
that ended keeps its plan, of which `subscription_status` says that it is over, and has nothing more to come: `trial_ends_at` and
`renews_at` are cleared and `mrr` is 0. `mrr` is 0 as well while nothing is paid, in a trial or a pause; discounts and taxes are
not in it. A customer's record sets the traits `email` and `name`.
"""

import decimal
from collections.abc import Iterable, Mapping
from typing import Any, Final

from streams.vendors.values import EXPONENTS, plain, written

# of intervals that make a year: how many
_A_YEAR: Final = {"day": 365, "week": 52, "month": 12, "year": 1}
INTERVALS_MAX: Final = 1_000
_PAYING: Final = ("active", "past_due")
_MONEY: Final = decimal.Context(prec=40, rounding=decimal.ROUND_HALF_EVEN)


def subscription_traits(
    status: str | None,
    *,
    plan: str | None,
    currency: str | None,
    mrr: float | int | None,
    trial_ends_at_ms: int | None,
    renews_at_ms: int | None,
) -> dict[str, Any]:
    """The traits of a contact with that subscription; none where it isn't one yet (`status` None).

    `status`: one of `trialing active past_due canceled paused`. `plan` and `currency` are left as they were where they are None.
    None in an instant clears it: no trial, no renewal; and in `mrr`: the 0 of a trial, or what another plan came to, says
    nothing of what is paid now.
    """
    if status is None:
        return {}
    over = status == "canceled"
    known = {"plan": plan, "currency": currency}
    return {
        "subscription_status": status,
        "mrr": mrr if status in _PAYING else 0,
        "trial_ends_at": None if over else written(trial_ends_at_ms),
        "renews_at": None if over or status == "paused" else written(renews_at_ms),
        **{name: value for name, value in known.items() if value is not None},
    }


def monthly(minor: decimal.Decimal | None, interval: Any, count: decimal.Decimal | None) -> decimal.Decimal | None:
    """What an amount for each `count` intervals (`day week month year`) is in a month; None where that can't be said."""
    a_year = _A_YEAR.get(interval) if isinstance(interval, str) else None
    if minor is None or a_year is None or count is None or not 1 <= count <= INTERVALS_MAX:
        return None
    return _MONEY.divide(_MONEY.multiply(minor, decimal.Decimal(a_year)), _MONEY.multiply(count, decimal.Decimal(12)))


def recurring(
    months: Iterable[decimal.Decimal | None], currency: Any, exponents: Mapping[str, int] = EXPONENTS
) -> float | int | None:
    """The sum of monthly amounts in minor units as one in major units, to the minor unit; None where one of them isn't known."""
    total = decimal.Decimal(0)
    for each in months:
        if each is None:
            return None
        total = _MONEY.add(total, each)
    places = exponents.get(currency.upper() if isinstance(currency, str) else "", 2)
    rounded = total.to_integral_value(rounding=decimal.ROUND_HALF_EVEN)
    return plain(rounded.scaleb(-places))
