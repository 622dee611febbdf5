"""Tokens of `tidegate api`: which there are, whose one is, and what it may ask."""

from __future__ import annotations

import hmac

import pytest

from streams import api_tokens
from streams.api_cursors import after_of, cursor_of
from streams.api_tokens import SCOPES, read_tokens
from streams.settings import SettingError

ALL, BOARD, CRM = "a" * 32, "b" * 32, "c" * 32
ENVIRONMENT = {
    "TIDEGATE_SECRET_API": ALL,
    "TIDEGATE_SECRET_API_BOARD": f"segments:read,reports:read {BOARD}",
    "TIDEGATE_SECRET_API_CRM": f"contacts:read {CRM}",
    "TIDEGATE_SECRET_APIARY": "another's",
}


def test_the_token_without_a_name_may_ask_everything_and_each_other_what_it_says() -> None:
    tokens = read_tokens(ENVIRONMENT)

    found = {given: tokens.of(f"Bearer {given}".encode()) for given in (ALL, BOARD, CRM)}
    assert [set(SCOPES), {"segments:read", "reports:read"}, {"contacts:read"}] == [
        token and token.scopes for token in found.values()
    ]
    assert ENVIRONMENT.keys() - {"TIDEGATE_SECRET_APIARY"} == {token.variable for token in found.values() if token}
    assert 3 == len({token.key for token in found.values() if token})
    for given in (b"", b"Bearer", b"Bearer ", BOARD.encode(), f"Basic {BOARD}".encode(), f"Bearer {BOARD}b".encode()):
        assert tokens.of(given) is None


def test_what_a_token_may_ask_is_all_that_needs_to_be_there() -> None:
    tokens = read_tokens({"TIDEGATE_SECRET_API_EXPORTS": f"  export   {CRM}\n"})

    token = tokens.of(f"Bearer {CRM}".encode())
    assert token is not None and {"export"} == token.scopes
    assert CRM not in repr(token)


def test_a_cursor_is_taken_by_every_api_of_its_token_and_by_none_once_that_is_replaced() -> None:
    before, beside, after = (
        read_tokens({"TIDEGATE_SECRET_API_SHOP": f"{scopes} {token}"}).of(f"Bearer {token}".encode())
        for scopes, token in (("memberships:read", CRM), ("export,memberships:read", CRM), ("memberships:read", BOARD))
    )
    assert before is not None and beside is not None and after is not None
    cursor = cursor_of(before, "cart", '["ada/é"]')

    assert '["ada/é"]' == after_of(beside, "cart", cursor)
    with pytest.raises(ValueError, match="begin without it"):
        after_of(after, "cart", cursor)


def test_every_token_is_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that ends at the first that is right, or at a first byte that is wrong, tells how many there are, or which."""
    compared: list[bytes] = []
    as_it_is = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return as_it_is(one, other)

    monkeypatch.setattr(api_tokens.hmac, "compare_digest", compare)
    tokens = read_tokens(ENVIRONMENT)
    counts = []
    for given in (ALL, CRM, "x"):
        compared.clear()
        tokens.of(f"Bearer {given}".encode())
        counts.append(len(compared))

    assert [3, 3, 3] == counts
    assert {32} == {len(digest) for digest in compared}


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "TIDEGATE_SECRET_API: expected a token of at least 32 characters, or some in TIDEGATE_SECRET_API_<NAME>"),
        ({"TIDEGATE_SECRET_API": ""}, "TIDEGATE_SECRET_API: expected a token"),
        ({"TIDEGATE_SECRET_API": "short"}, "TIDEGATE_SECRET_API: expected at least 32 characters, got 5 of a token"),
        ({"TIDEGATE_SECRET_API_X": "export short"}, "TIDEGATE_SECRET_API_X: expected at least 32 characters, got 5"),
        ({"TIDEGATE_SECRET_API_X": "export"}, "TIDEGATE_SECRET_API_X: expected scopes (contacts:read, "),
        ({"TIDEGATE_SECRET_API_X": ALL}, "TIDEGATE_SECRET_API_X: expected scopes"),
        ({"TIDEGATE_SECRET_API_X": ""}, "TIDEGATE_SECRET_API_X: expected scopes"),
        ({"TIDEGATE_SECRET_API_X": f"export,admin {ALL}"}, "TIDEGATE_SECRET_API_X: expected scopes"),
        ({"TIDEGATE_SECRET_API_X": f"export, contacts:read {ALL}"}, "TIDEGATE_SECRET_API_X: expected scopes"),
        ({"TIDEGATE_SECRET_API_x": f"export {ALL}"}, "TIDEGATE_SECRET_API_x: expected capital letters"),
        (
            {"TIDEGATE_SECRET_API_A": f"export {ALL}", "TIDEGATE_SECRET_API_B": f"segments:read {ALL}"},
            "TIDEGATE_SECRET_API_B: expected another token than that of TIDEGATE_SECRET_API_A, got the same",
        ),
    ],
)
def test_a_token_that_cannot_be_used_is_refused_at_start_and_never_shown(
    environment: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingError) as refused:
        read_tokens(environment)

    assert said in str(refused.value)
    assert ALL not in str(refused.value) and "short" not in str(refused.value)
