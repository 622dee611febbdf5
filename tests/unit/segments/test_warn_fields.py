"""Warnings by the catalogue of fields: a trait or property that no event ever had is told, and nothing that may be there."""

import pytest

from segments import load
from segments.warn import warnings
from segments.warn_fields import KnownFields, SeenField

SEEN = SeenField(3, "2026-03-01")
ONCE = SeenField(1, "2026-02-01")
KNOWN = KnownFields(
    {"plan": SEEN, "address": ONCE, "address.city": ONCE, "group.id": ONCE, "won": SeenField(0, "")},
    {"Order Completed": {"total": SEEN, "sku": SEEN}, "Cart Updated": {"cart_id": ONCE}},
    4,
)


def warned(when: str, rest: str = "") -> list[str]:
    """What is said of a segment `s` with that `when`, without its subject."""
    definitions = load(f"segments:\n  - {{id: s, when: {when}{rest}}}\n")
    return [line.removeprefix("segment 's': ") for line in warnings(definitions, fields=KNOWN)]


@pytest.mark.parametrize(
    "when",
    [
        "{all: [{trait: plan, eq: pro}, {trait: address.city, eq: {trait: group.id}}, {trait: won, eq: true}]}",
        "{event: Order Completed, where: {total: {gt: 5}}, by: sku, count: 2}",
        "{event: [Order Completed, Cart Updated], where: {total: {gt: 5}}}",
        "{event: {prefix: Order}, where: {total: {gt: 5}}}",
        "{event: Order Completed, where: {context.page.path: /}}",
        "{event: Never Seen, where: {whatever: 5}}",
        "{trait: a.b.c.d.e, eq: 5}",
    ],
)
def test_what_events_have_had_or_nobody_can_know_is_not_warned_of(when: str) -> None:
    """Of an event that never came, of a context and of what is deeper than the catalogue nothing is known."""
    assert warned(when) == []


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (
            "{all: [{trait: plann, eq: pro}, {trait: adress.city, eq: Rome}, {trait: wom, eq: true}, {trait: zzz, eq: 1}]}",
            [
                "no event ever had the trait 'plann', did you mean 'plan' (seen from 3 sources, last 2026-03-01)?"
                " - at $.when.all[0].trait",
                "no event ever had the trait 'adress.city', did you mean 'address.city' (seen from 1 source, last 2026-02-01)?"
                " - at $.when.all[1].trait",
                "no event ever had the trait 'wom', did you mean 'won'? - at $.when.all[2].trait",
                "no event ever had the trait 'zzz' - at $.when.all[3].trait",
            ],
        ),
        (
            "{event: Order Completed, where: {totl: {gt: {trait: pln}}}}",
            [
                "no event of its name ever had the property 'totl', did you mean 'total' (seen from 3 sources, last 2026-03-01)?"
                " - at $.when.where.totl",
                "no event ever had the trait 'pln', did you mean 'plan' (seen from 3 sources, last 2026-03-01)?"
                " - at $.when.where.totl.gt.trait",
            ],
        ),
        (
            "{event: Cart Updated, where: {total: 5}}",
            ["no event of its name ever had the property 'total' - at $.when.where.total"],
        ),
        (
            "{event: '*', sum: {of: price, gt: 5}}",
            ["no event of its name ever had the property 'price' - at $.when.sum.of"],
        ),
        (
            "{event: Order Completed, by: skus, count: 2}",
            [
                "no event of its name ever had the property 'skus', did you mean 'sku' (seen from 3 sources, last 2026-03-01)?"
                " - at $.when.by"
            ],
        ),
    ],
)
def test_what_no_event_ever_had_is_told_with_what_is_close(when: str, expected: list[str]) -> None:
    """A property of another event is none of this one's."""
    assert warned(when) == expected


def test_what_stands_beside_a_condition_is_looked_at() -> None:
    """The property of `per`, once for all events that it is asked of, and the traits to carry."""
    assert warned("{event: Cart Updated}", ", per: basket, carry: [plan, name]") == [
        "no event of its name ever had the property 'basket' - at $.per",
        "no event ever had the trait 'name' - at $.carry[1]",
    ]
