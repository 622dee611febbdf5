"""`tidegate delete`: what it asks, refuses and says; without a broker."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams import cli, erasure
from streams.erasure import Answer, What

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def asked() -> list[str]:
    """The contacts that were to be erased."""
    return []


@pytest.fixture
def tidegate(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Runs a command line: its status, standard output and standard error; contacts become what their ids say."""

    async def erase(settings: object, contacts: Sequence[str], **options: Any) -> list[Answer]:
        asked.extend(contacts)
        known: dict[str, What] = {what: what for what in ("unknown", "rejected", "waiting")}  # type: ignore[misc]
        return [Answer(contact, known.get(contact, "erased"), "0" * 64) for contact in contacts]

    monkeypatch.setattr(erasure, "erase", erase)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(["delete", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_ids_of_a_file_and_of_the_command_are_each_asked_for_once(tidegate: Call, asked: list[str]) -> None:
    """Blanks within an id are part of it, ends of lines are not."""
    Path("ids.txt").write_text("ada\r\n\r\nböb/1\n grace \nada", "utf-8-sig")
    status, out, _ = tidegate("ada", "--file", "ids.txt", "--yes", "--json")

    assert (status, asked) == (0, ["ada", "böb/1", " grace "])
    assert [(row["contact"], row["what"]) for row in orjson.loads(out)] == [(contact, "erased") for contact in asked]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected ids, or --file, got neither"),
        (["ada"], "expected --yes where nobody can be asked"),
        (["", "--yes"], "expected an id of 1 to 1024 bytes, got 0"),
        (["ada", "x" * 1025, "--yes"], "expected an id of 1 to 1024 bytes, got 1025"),
        (["a\udcffb", "--yes"], "expected an id in UTF-8"),
        (["--file", "none.txt", "--yes"], "none.txt: expected a file of ids"),
        (["--file", "long.txt", "--yes"], "long.txt:3: expected an id of 1 to 1024 bytes"),
    ],
)
def test_what_cannot_be_done_is_said_and_nobody_is_erased(
    tidegate: Call, asked: list[str], arguments: list[str], expected: str
) -> None:
    """All of it is looked at first: half a file of ids would be worse than none."""
    Path("long.txt").write_text("ada\nbob\n" + "x" * 1025 + "\n")
    status, _, err = tidegate(*arguments)

    assert (status, expected in err, asked) == (2, True, []), err


@pytest.mark.parametrize(("contact", "expected"), [("ada", 0), ("unknown", 0), ("rejected", 1), ("waiting", 1)])
def test_the_status_says_whether_anybody_is_left(tidegate: Call, contact: str, expected: int) -> None:
    """A script that erases on request has to know that it isn't done."""
    status, _, err = tidegate(contact, "--yes")

    assert (status, f"1 {contact if contact != 'ada' else 'erased'}" in err) == (expected, True)


def test_whoever_says_no_erases_nobody(tidegate: Call, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The question names them."""
    monkeypatch.setattr("streams.cli.delete.sys.stdin", _Terminal())
    questions: list[str] = []

    def confirm(question: str, **options: object) -> None:
        questions.append(question)
        raise KeyboardInterrupt

    monkeypatch.setattr("streams.cli.delete.click.confirm", confirm)

    assert (130, []) == (tidegate("ada", "bob")[0], asked)
    assert ["Erase 'ada', 'bob' for good?"] == questions


class _Terminal:
    def isatty(self) -> bool:
        return True
