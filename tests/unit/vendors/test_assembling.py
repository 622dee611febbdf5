"""Events of what a notification means: whose they are, what is linked, what a connection changes, and their ids."""

from collections.abc import Callable
from typing import Any

import pytest

from schemas.rejected import Reason, Rejection
from streams.vendors.assembling import ID_CHARACTERS_MAX, events_of
from streams.vendors.connection import Connection, NameKind, Override, Path
from streams.vendors.contract import Meaning, Names, Notification, Said, Vendor
from tests.unit.vendors.payloads import NOW_MS, parsed, request

BODY = {"amount": 5, "deep": {"list": [{"id": "account-1"}], "none": None}}
NAMES = Names("u1", " Ada@Example.com ", "cus_1")
SAID = (Said("Order Completed", {"total": 5}),)


def _vendor(meaning: Meaning) -> Vendor:
    return Vendor(
        "shop",
        "The Shop",
        lambda request, secrets, now_ms: None,
        lambda request: [],
        lambda notification: meaning,
        lambda now_ms: b"",
        lambda body, secret, url, now_ms: {},
    )


def _notification(name: str = "order.paid", id: str | None = "n1", at_ms: int | None = 1000) -> Notification:
    return Notification(name, id, at_ms, BODY)


def _events(
    meaning: Meaning,
    notification: Notification | None = None,
    *,
    contact: tuple[NameKind, ...] = ("user_id", "email", "vendor_id"),
    **more: Any,
) -> list[dict[str, Any]]:
    connection = Connection("conn", "shop", ("S",), contact=contact, **more)
    made = events_of(_vendor(meaning), connection, request({}), notification or _notification())
    for event in made:
        parsed(event)
    return made


def test_an_event_says_what_whose_when_and_where_from() -> None:
    """All that a worker needs."""
    assert _events(Meaning(NAMES, SAID)) == [
        {
            "type": "track",
            "userId": "u1",
            "timestamp": "1970-01-01T00:00:01.000Z",
            "messageId": "shop:n1",
            "context": {"source": "conn", "library": {"name": "shop"}},
            "event": "Order Completed",
            "properties": {"total": 5},
        }
    ]


@pytest.mark.parametrize(
    "names, contact, expected",
    [
        (NAMES, ("user_id", "email", "vendor_id"), "u1"),
        (NAMES, ("email", "vendor_id"), "ada@example.com"),
        (NAMES, ("vendor_id",), "shop:cus_1"),
        (Names(email="Ä@B.c"), ("user_id", "email", "vendor_id"), "ä@b.c"),
        (Names(vendor_id="cus_1"), ("user_id", "email", "vendor_id"), "shop:cus_1"),
        (Names("x" * 1025, "a@b.c"), ("user_id", "email"), "a@b.c"),
    ],
)
def test_the_contact_is_the_first_name_of_the_rule_that_there_is(
    names: Names, contact: tuple[NameKind, ...], expected: str
) -> None:
    """The connection says the rule; what is too long for a name is none."""
    assert [event["userId"] for event in _events(Meaning(names, SAID), contact=contact)] == [expected]


@pytest.mark.parametrize(
    "written",
    ["n/a", "none", "-", "@", "u1", "stripe:cus_1", "shop:ada@example.com", "a@b.c, d@e.f", "Ada <a@b.c>", "a b@c"],
)
def test_what_is_no_address_is_no_name(written: str) -> None:
    """`n/a` would be one contact of many people, and an id in the place of an address somebody else."""
    (told,) = _events(Meaning(Names(None, written, "cus_2"), SAID, links=True))
    assert told["userId"] == "shop:cus_2"

    (told,) = _events(Meaning(Names("u9", written), SAID, traits={"email": written}, claimed=True, links=True))
    assert (told["type"], told["userId"]) == ("track", "u9")


def test_a_path_of_the_connection_counts_before_the_vendors_metadata() -> None:
    """The first of several that leads to an id."""
    paths = (Path("$.missing"), Path("$.deep.none"), Path("$.deep.list[0].id"), Path("$.amount"))

    assert _events(Meaning(NAMES, SAID), user_ids=paths)[0]["userId"] == "account-1"
    assert _events(Meaning(NAMES, SAID), user_ids=paths[3:])[0]["userId"] == "5"
    assert _events(Meaning(NAMES, SAID), user_ids=paths[:2])[0]["userId"] == "u1"


def test_a_namespace_stands_before_the_vendors_ids() -> None:
    """Where two accounts have the same ones."""
    assert _events(Meaning(Names(vendor_id="1"), SAID), namespace="eu")[0]["userId"] == "eu:1"


@pytest.mark.parametrize("names", [Names(), Names(email=" "), Names(""), Names(email="u1")])
def test_who_has_no_name_is_refused_with_what_to_do(names: Names) -> None:
    """The raw bytes are kept with it; nothing is guessed."""
    with pytest.raises(Rejection) as raised:
        _events(Meaning(names, SAID))

    assert raised.value.reason is Reason.NO_CONTACT
    assert "in The Shop's 'order.paid', got none" in raised.value.sentence
    assert "`user_id:` of connection 'conn'" in raised.value.sentence


def test_who_is_called_by_a_name_that_the_rule_leaves_out_has_none() -> None:
    """The rule is the connection's."""
    with pytest.raises(Rejection, match="expected one of user_id in"):
        _events(Meaning(Names(email="a@b.c"), SAID), contact=("user_id",))


def test_all_names_of_a_person_are_linked_to_the_first() -> None:
    """By `identify` events, before what happened."""
    first, second, told = _events(Meaning(NAMES, SAID, links=True))

    assert [(each["type"], each["userId"], each["anonymousId"]) for each in (first, second)] == [
        ("identify", "u1", "ada@example.com"),
        ("identify", "u1", "shop:cus_1"),
    ]
    assert [parsed(each).links for each in (first, second, told)] == ["ada@example.com", "shop:cus_1", None]


def test_a_link_has_one_id_however_often_it_is_told() -> None:
    """So that all but the first are duplicates; another link has another."""
    links = [
        _events(Meaning(names, SAID, links=True), _notification(id=id))[0]["messageId"]
        for names, id in ((Names("u1", "a@b.c"), "n1"), (Names("u1", "A@b.c"), "n2"), (Names("u2", "a@b.c"), "n1"))
    ]

    assert links[0] == links[1] != links[2]


def test_a_name_alone_is_linked_to_nothing() -> None:
    """Nor is one that is the same twice."""
    assert len(_events(Meaning(Names(email="a@b.c"), SAID, links=True))) == 1
    assert len(_events(Meaning(Names("a@b.c", "A@B.c"), SAID, links=True))) == 1
    assert len(_events(Meaning(NAMES, SAID))) == 1


def test_traits_are_true_as_of_the_instant_that_orders_them() -> None:
    """Not that of what happened; null, which clears, is told."""
    traits, told = _events(Meaning(NAMES, (Said("A", {}, 3000),), traits={"plan": None}, traits_at_ms=2000))

    assert (traits["type"], traits["traits"], traits["timestamp"]) == (
        "identify",
        {"plan": None},
        "1970-01-01T00:00:02.000Z",
    )
    assert told["timestamp"] == "1970-01-01T00:00:03.000Z"
    assert traits["messageId"] == "shop:n1:traits"


@pytest.mark.parametrize("contact, told", [(("email",), True), (("user_id", "email"), False), (("vendor_id",), False)])
def test_what_anybody_could_have_written_changes_traits_of_the_address_alone(
    contact: tuple[NameKind, ...], told: bool
) -> None:
    """Or a form with somebody else's id in its link would send that person's mail to an address of one's choice."""
    meaning = Meaning(NAMES, SAID, traits={"email": "Ada@Example.com"}, claimed=True)

    assert ("identify" in [event["type"] for event in _events(meaning, contact=contact)]) is told


def test_a_path_to_an_id_that_anybody_could_have_written_changes_no_traits_either() -> None:
    """But those that the connection itself says."""
    meaning = Meaning(Names(email="a@b.c"), SAID, traits={"email": "a@b.c"}, claimed=True)
    override = {"order.paid": Override(traits={"lead": True})}

    assert [event["type"] for event in _events(meaning, user_ids=(Path("$.amount"),))] == ["track"]
    traits = _events(meaning, user_ids=(Path("$.amount"),), overrides=override)[0]
    assert (traits["userId"], traits["traits"]) == ("5", {"lead": True})


def test_what_has_no_instant_happened_when_it_came() -> None:
    """Its traits, too."""
    made = _events(Meaning(NAMES, SAID, traits={"a": 1}), _notification(at_ms=None))

    assert {parsed(event).occurred_at_ms for event in made} == {NOW_MS}


def test_what_is_not_mapped_has_the_vendors_name() -> None:
    """With its properties; quiet with traits, it is not told beside them."""
    (told,) = _events(Meaning(NAMES, properties={"a": 1}))
    assert (told["event"], told["properties"]) == ("The Shop order.paid", {"a": 1})

    assert [event["type"] for event in _events(Meaning(NAMES, traits={"a": 1}, quiet=True))] == ["identify"]


def test_each_of_several_events_has_an_id_of_its_own() -> None:
    """The same at a repeat."""
    said = (Said("A", {}), Said("B", {}))

    assert [event["messageId"] for event in _events(Meaning(NAMES, said))] == ["shop:n1:0", "shop:n1:1"]


def test_an_id_is_made_of_what_is_told_where_there_is_none() -> None:
    """And one that is too long is made shorter; both are the same at a repeat."""
    none = [_events(Meaning(NAMES, SAID), _notification(id=None))[0]["messageId"] for _ in range(2)]
    long = _events(Meaning(NAMES, SAID), _notification(id="x" * (ID_CHARACTERS_MAX + 1)))[0]["messageId"]
    fits = _events(Meaning(NAMES, SAID), _notification(id="x" * ID_CHARACTERS_MAX))[0]["messageId"]

    assert none[0] == none[1] and len(none[0]) == len("shop:") + 32
    assert len(long) == len("shop:") + 32
    assert fits == "shop:" + "x" * ID_CHARACTERS_MAX


def test_the_same_object_under_another_name_or_of_another_connection_is_another_event() -> None:
    """A vendor without ids may tell an object for several reasons, each by a connection of its own."""
    vendor, asked = _vendor(Meaning(NAMES, SAID)), request({})
    ids = {
        events_of(vendor, Connection(id, "shop", ("S",)), asked, _notification(name, None))[0]["messageId"]
        for id in ("trial-started", "left")
        for name in ("order.created", "order.paid")
    }

    assert len(ids) == 4


def test_an_override_names_the_event_and_adds_what_its_paths_lead_to() -> None:
    """Literals as they are; a path that leads nowhere leaves its name out, and null that is written there clears."""
    override = Override(
        "Payment Disputed",
        {"amount": Path("$.amount"), "missing": Path("$.missing"), "kind": "card", "total": 6},
        {"disputed": True, "cleared": None, "nothing": Path("$.deep.none")},
    )
    traits, told = _events(Meaning(NAMES, SAID, traits={"plan": "pro"}), overrides={"order.paid": override})

    assert (told["event"], told["properties"]) == ("Payment Disputed", {"total": 6, "amount": 5, "kind": "card"})
    assert traits["traits"] == {"plan": "pro", "disputed": True, "cleared": None}


def test_an_override_without_a_name_keeps_those_that_there_are() -> None:
    """Of each event, also of one that nobody mapped."""
    override = {"order.*": Override(properties={"amount": Path("$.amount")})}
    said = (Said("A", {"x": 1}), Said("B", {}))

    assert [(e["event"], e["properties"]) for e in _events(Meaning(NAMES, said), overrides=override)] == [
        ("A", {"x": 1, "amount": 5}),
        ("B", {"amount": 5}),
    ]
    assert _events(Meaning(NAMES), overrides=override)[0]["event"] == "The Shop order.paid"


def test_an_override_makes_one_event_of_one_that_was_not_told_or_were_several() -> None:
    """The name says what it is now."""
    override = {"order.paid": Override("Paid")}
    quiet = Meaning(NAMES, properties={"a": 1}, traits={"b": 1}, quiet=True)

    assert [event.get("event") for event in _events(quiet, overrides=override)] == [None, "Paid"]
    several = Meaning(NAMES, (Said("A", {"x": 1}), Said("B", {"y": 1})))
    (told,) = _events(several, overrides=override)
    assert (told["properties"], told["messageId"]) == ({"x": 1}, "shop:n1")


def test_what_is_ignored_is_not_even_looked_at() -> None:
    """It may be what has no contact, or can't be mapped."""

    def refuse(notification: Notification) -> Meaning:
        raise Rejection(Reason.MISSING_FIELD, "expected more, got less")

    refusing: Callable[[Notification], Meaning] = refuse
    vendor = Vendor("shop", "The Shop", lambda *_: None, lambda _: [], refusing, lambda _: b"", lambda *_: {})
    connection = Connection("conn", "shop", ("S",), overrides={"order.*": Override(ignored=True)})

    assert events_of(vendor, connection, request({}), _notification()) == []
    with pytest.raises(Rejection):
        events_of(vendor, connection, request({}), _notification("refund.made"))
