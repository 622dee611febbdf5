"""What the dispatcher knows of rules and sequences: which were in force and are no more."""

from typing import Any

import orjson
import pytest

from schemas.deliveries import Delivery, TransitionOf
from streams.rulebook import RuleBook
from streams.settings import load_settings

AT = "2026-03-01T09:30:00.000Z"


def revise(book: RuleBook, number: int, *in_force: tuple[str, str, int]) -> None:
    listed = [{"kind": kind, "id": id, "version": version, "since_ms": 0} for kind, id, version in in_force]
    record = {"number": number, "applied_at_ms": 0, "definitions": listed, "hash": ""}
    book._take(f"revision//{number}".encode(), orjson.dumps(record))


def delivery(kind: Any, rule: str, version: int = 1) -> Delivery:
    began = TransitionOf("t", "cart", 1, "entered", 1, AT, "event")
    return Delivery("d", rule, version, 0, "email", "a@b.c", "c-1", 1, began, {}, AT, kind=kind)


@pytest.fixture
def book() -> RuleBook:
    return RuleBook(load_settings({}))


def test_removed_is_what_an_earlier_revision_had_and_the_newest_has_not(book: RuleBook) -> None:
    """By kind and id, whatever the version; a sequence may be called as a rule is, or a segment."""
    revise(book, 1, ("rule", "cart", 1), ("sequence", "cart", 1), ("segment", "cart", 1))
    revise(book, 2, ("rule", "cart", 2), ("segment", "cart", 1))

    assert book.is_removed(delivery("sequence", "cart"))
    assert not book.is_removed(delivery("rule", "cart", 1))
    assert not book.is_removed(delivery("rule", "cart", 2))


def test_what_no_revision_had_yet_is_not_removed_and_what_comes_back_is_in_force_again(book: RuleBook) -> None:
    assert not book.is_removed(delivery("rule", "cart"))
    revise(book, 1)
    assert not book.is_removed(delivery("rule", "cart"))
    revise(book, 2, ("rule", "cart", 1))
    revise(book, 3)
    assert book.is_removed(delivery("rule", "cart"))
    revise(book, 4, ("rule", "cart", 2))
    assert not book.is_removed(delivery("rule", "cart", 1))


def test_a_revision_that_cannot_be_read_removes_nothing(book: RuleBook) -> None:
    revise(book, 1, ("rule", "cart", 1))
    book._take(b"revision//2", b"{}")

    assert not book.is_removed(delivery("rule", "cart"))
