"""`tidegate publish` with a mapping, as far as it goes without a broker."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streams import cli

MAPPING = "id: seen\ntype: identify\nuserId: who\ntraits: {n: {column: n, type: number}}\n"


@pytest.fixture
def tidegate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in a directory with a mapping: its status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    Path("m.yaml").write_text(MAPPING)

    def call(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(["publish", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["e.csv", "--live"], "expected --map with --live: it says what the rows of the file are"),
        (["e.csv", "--resume"], "expected --map with --resume"),
        (["e.csv", "--bad", "b.csv"], "expected --map with --bad"),
        (["e.csv", "--dry-run"], "expected --map with --dry-run"),
        (["e.csv", "--map", "m.yaml", "--live", "--import"], "expected --import or --live, got both"),
        (["-", "--map", "-"], "expected one of FILE and --map on standard input, got both"),
        (["e.csv", "--map", "none.yaml"], "none.yaml: expected a file of definitions"),
        (["e.csv", "--map", "m.yaml"], "e.csv: expected a file of CSV or JSON lines"),
        (
            ["-", "--map", "m.yaml"],
            "-: expected a name that ends in .csv .tsv .jsonl .ndjson, or `format` in the mapping",
        ),
    ],
)
def test_what_cannot_be_done_is_said(tidegate: Call, arguments: list[str], expected: str) -> None:
    """Before anything is."""
    status, _, err = tidegate(*arguments)

    assert (status, expected in err) == (2, True), err


def test_a_dry_run_shows_the_first_events_and_reads_the_rest(tidegate: Call) -> None:
    """Nothing is sent, or noted; bad rows are said, counted and written as in earnest."""
    Path("e.csv").write_text("who,n\n" + "".join(f"c-{n},{n}\n" for n in range(50)) + "bad,x\n")
    status, out, err = tidegate("e.csv", "--map", "m.yaml", "--dry-run", "--bad", "bad.csv")

    assert status == 1
    shown = [json.loads(line) for line in out.splitlines()]
    assert [(event["userId"], event["traits"]) for event in shown] == [(f"c-{n}", {"n": n}) for n in range(10)]
    assert err.splitlines() == [
        "e.csv:52: no event: expected a number in column 'n' (traits.n), got 'x'",
        "50 events would be published, 0 rows left out by `skip`, 1 bad rows",
    ]
    assert Path("bad.csv").read_text() == "who,n\nbad,x\n"
    assert sorted(path.name for path in Path().iterdir()) == ["bad.csv", "e.csv", "m.yaml"]


def test_nothing_in_a_file_steers_the_terminal(tidegate: Call) -> None:
    """Whoever fills in a form writes rows of it: CSI of one character, and text from right to left."""
    who = "ann\x9b31m\u202e\x7f\U000e0001 é"
    Path("e.csv").write_text(f"who,n\n{who},1\n{who},\x9b2J\n")
    _, out, err = tidegate("e.csv", "--map", "m.yaml", "--dry-run")

    assert who == json.loads(out)["userId"]
    assert "é" in out
    assert (out + err).replace("\n", "").isprintable()


def test_bad_rows_beyond_the_first_hundred_are_counted_alone(tidegate: Call) -> None:
    """A file of another kind fills no terminal."""
    Path("e.csv").write_text("who,n\n" + "c,x\n" * 1000)
    status, out, err = tidegate("e.csv", "--map", "m.yaml", "--dry-run", "--json")

    assert (status, json.loads(out)) == (1, {"events": 0, "skipped": 0, "bad": 1000})
    assert len(err.splitlines()) == 102
    assert "… and 900 more lines with problems" in err


def test_a_kafka_that_is_away_leaves_nothing_behind_to_go_on_from(
    tidegate: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the same command begins again."""
    monkeypatch.setenv("TIDEGATE_BROKER", "127.0.0.1:1")
    Path("e.csv").write_text("who,n\nann,1\n")
    status, _, err = tidegate("e.csv", "--map", "m.yaml")

    assert (status, "127.0.0.1:1" in err, "--resume" in err) == (1, True, False)
    assert not list(Path().glob("*.import"))


def test_a_pipe_is_read_as_a_file_is(tidegate: Call) -> None:
    """With the format in the mapping, as it has no name."""
    Path("m.yaml").write_text(MAPPING + "format: csv\n")
    run = "from streams.cli import main; main()"
    command = [sys.executable, "-c", run, "publish", "-", "--map", "m.yaml", "--dry-run"]
    done = subprocess.run(command, input=b"who,n\nann,1\n", capture_output=True, check=True, timeout=30)

    assert json.loads(done.stdout)["userId"] == "ann"
