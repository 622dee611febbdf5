"""`tidegate lists import`, as far as it goes without a broker."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from streams import cli
from streams.errors import InputError
from streams.imports import open_import
from streams.lists import list_mapping
from streams.settings import load_settings

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tidegate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command line: its status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(["lists", "import", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_each_row_puts_a_contact_on_the_list_and_a_row_without_an_id_is_said_with_its_line(tidegate: Call) -> None:
    """Nothing marks it as history: what somebody does now has a cause of its own."""
    Path("v.csv").write_text('who,name\nada,"Ada,\nCountess"\n,nobody\nböb/1,Bob\nada,again\n')
    status, out, err = tidegate("fair", "v.csv", "--column", "who", "--dry-run", "--bad", "bad.csv")

    assert status == 1
    events = [json.loads(line) for line in out.splitlines()]
    assert [(event["userId"], event["list"], event["action"]) for event in events] == [
        (contact, "fair", "added") for contact in ("ada", "böb/1", "ada")
    ]
    assert all("import" not in event["context"] for event in events)
    assert 1 == len({event["messageId"] for event in events}), "whoever is in the file twice is taken once"
    assert "v.csv:4: no event: expected a non-empty `userId`" in err
    assert Path("bad.csv").read_text() == "who,name\n,nobody\n"


def test_taking_off_the_list_is_another_action_under_another_message(tidegate: Call) -> None:
    """Adding, removing and adding the same file within the dedup horizon is three messages to a worker."""
    Path("v.csv").write_text("userId\nada\n")
    seen = [json.loads(tidegate("fair", "v.csv", "--dry-run", *more)[1]) for more in ([], ["--remove"], [])]

    assert ["added", "removed", "added"] == [event["action"] for event in seen]
    assert 3 == len({event["messageId"] for event in seen})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fair", "v.csv"], "v.csv: expected a column 'userId' (--column), found none of that name; it has: 'who'"),
        (["fair", "none.csv"], "none.csv: expected a file"),
        (["", "v.csv"], "expected the name of a list, got an empty text"),
        (["fair", "-", "--resume"], "expected a file with --resume"),
    ],
)
def test_what_cannot_be_done_is_said(tidegate: Call, arguments: list[str], expected: str) -> None:
    """Before anything is."""
    Path("v.csv").write_text("who\nada\n")
    status, _, err = tidegate(*arguments)

    assert (status, expected in err) == (2, True), err


def test_a_list_that_was_imported_whole_may_be_imported_again_and_one_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    """What is half done is said by the next run; what is done leaves nothing beside the file."""
    path = tmp_path / "v.csv"
    path.write_text("userId\n" + "".join(f"c-{n}\n" for n in range(3)))
    settings = load_settings({})
    with pytest.raises(KeyboardInterrupt), open_import(str(path), list_mapping("fair", "userId"), settings) as cut:
        next(iter(cut))
        cut.acknowledged(cut.place())
        raise KeyboardInterrupt
    place = tmp_path / "v.csv.list.fair.added.import"
    assert place.exists()

    with (
        pytest.raises(InputError, match=r"imported up to line 4; --resume goes on there\. without that file"),
        open_import(str(path), list_mapping("fair", "userId"), settings),
    ):
        pass
    with open_import(str(path), list_mapping("fair", "userId"), settings, resume=True) as again:
        assert 4 == again.start.lines
        assert [] == list(again)
    assert not place.exists()
    for mapping in (list_mapping("fair", "userId"), list_mapping("fair", "userId", removed=True)):
        with open_import(str(path), mapping, settings) as whole:
            assert 1 == len(list(whole))
    assert [path] == list(tmp_path.iterdir())


def test_a_short_list_that_is_cut_short_is_said_as_well_and_one_that_never_began_is_not(tmp_path: Path) -> None:
    """Kafka acknowledges a mebibyte at a time: what is killed before may be there all the same, in part."""
    path, place = tmp_path / "v.csv", tmp_path / "v.csv.list.fair.added.import"
    path.write_text("userId\nada\nbob\n")
    settings = load_settings({})

    def cut(rows: int, **options: bool) -> None:
        with open_import(str(path), list_mapping("fair", "userId"), settings, **options) as imported:
            for number, row in next(iter(imported))[:rows]:
                assert imported.route(number, row) is not None
            assert place.exists(), "as a kill would leave it"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut(0)
    assert not place.exists()
    with pytest.raises(KeyboardInterrupt):
        cut(1)
    with pytest.raises(InputError, match=r"was begun to be imported; --resume goes on there"):
        cut(0)
    with open_import(str(path), list_mapping("fair", "userId"), settings, resume=True) as again:
        assert ["ada", "bob"] == [row[0] for block in again for _, row in block]  # type: ignore[index]
    assert [path] == list(tmp_path.iterdir())


def test_lists_of_any_name_have_a_place_of_their_own() -> None:
    """A name may hold what no file's name can."""
    names = ("fair", "Fair", "../fair", "fair/é", "x" * 300)
    ids = [list_mapping(name, "userId", removed=removed).id for name in names for removed in (False, True)]

    assert len(set(ids)) == len(ids)
    assert all("/" not in id and len(id) < 80 for id in ids)
