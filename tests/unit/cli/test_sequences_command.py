"""`tidegate sequences report` of a deterministic run, with no broker."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams import cli

SEGMENTS = """
segments:
  - {id: new, when: {trait: plan, eq: trial}}
  - {id: paying, when: {event: Order Completed}}
sequences:
  - id: welcome
    on: {segment: new}
    goal: {segment: paying}
    steps:
      - split:
          name: offer
          salt: s654
          paths:
            - name: mail
              percent: 50
              steps:
                - send: {channel: email, target: {trait: email}, template: {subject: Hi, text: Hello}}
                  name: first
                - wait: 2d
                - send: {channel: email, target: {trait: email}, template: {subject: Hi, text: Again}}
                  name: second
            - {name: held-out, percent: 50, holdout: true}
"""
# by the hash of `s654:<contact>` m1, m3 and m4 are mailed, m2 and m6 held out
ORDERS = {"m1": ("2036-01-02", 10), "m4": ("2036-01-04", 20), "m2": ("2036-01-05", 6)}


def event_line(contact: str, at: str, **fields: Any) -> str:
    instant = f"{at}T00:00:00Z"
    return json.dumps({"userId": contact, "timestamp": instant, "receivedAt": instant, **fields})


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with `w.yaml` and `e.jsonl`, which is the current one."""
    (tmp_path / "w.yaml").write_text(SEGMENTS)
    lines = [
        event_line(contact, "2036-01-01", type="identify", traits={"plan": "trial", "email": "a@b.example"})
        for contact in ("m1", "m2", "m3", "m4", "m6")
    ]
    lines += [
        event_line(
            contact, at, type="track", event="Order Completed", messageId=f"{contact}/{at}", properties={"total": total}
        )
        for contact, (at, total) in ORDERS.items()
    ]
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_over_a_file_says_what_a_sequence_was_worth(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """m1 buys after the first message, m4 after the second, m2 though held out; the orders of mailed ones are 30 in all."""
    arguments = ["--from-simulate", "w.yaml", "e.jsonl", "--until", "2036-03-01", "--value", "Order Completed"]
    assert cli.run(["sequences", "report", "welcome", *arguments, "--json"]) == 0
    (version,) = json.loads(capsys.readouterr().out)["versions"]

    funnel = version["funnel"]
    assert (5, 0, 2, 3) == (funnel["entered"], funnel["running"], funnel["completed"], funnel["converted"])
    assert [("held_out", "offer", 2), ("goal", "wait-2", 1)] == [
        (each["reason"], each["step"], each["count"]) for each in funnel["exited"]
    ]
    first, second = funnel["steps"]
    assert (3, 1) == (first["stages"][0]["count"], first["stages"][-1]["count"])
    assert (2, 1, 172_800_000) == (
        second["stages"][0]["count"], second["stages"][-1]["count"], second["stages"][0]["median_ms"]
    )  # fmt: skip
    mailed, held_out = version["splits"][0]["arms"]
    assert (3, 2, 30.0, 10.0, 7.0) == (
        mailed["contacts"], mailed["converted"], mailed["value"], mailed["value_per_contact"], mailed["value_difference"]
    )  # fmt: skip
    assert (2, 1, 3.0) == (held_out["contacts"], held_out["converted"], held_out["value_per_contact"])


def test_the_table_names_the_methods_and_says_who_is_left_out(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten days after the entries their 30 days are not over; with a window of 7 days they are."""
    simulated = ["--from-simulate", "w.yaml", "e.jsonl", "--until", "2036-01-11"]
    assert cli.run(["sequences", "report", "welcome", *simulated]) == 0
    out = capsys.readouterr().out
    assert "5 contacts are left out: their 30d are not over yet" in out

    assert cli.run(["sequences", "report", "welcome", *simulated, "--window", "7d"]) == 0
    out = capsys.readouterr().out
    assert "left out:" not in out
    assert "Newcombe" in out and "scipy" in out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("mail ")]
    assert ["mail", "3", "2", "66.7", "%"] == row[:5]


def test_a_sequence_that_is_not_there_is_named_with_those_that_are(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["sequences", "report", "nope", "--from-simulate", "w.yaml", "e.jsonl"]) == 2
    assert "expected the id of a sequence in the files (welcome), got 'nope'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--property", "total"], ["--until", "2036-01-01"], ["--from-simulate", "w.yaml", "-"]],
)
def test_options_that_need_another_say_so(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert cli.run(["sequences", "report", "welcome", *arguments]) == 2
    assert "expected" in capsys.readouterr().err


def test_no_other_command_pays_for_scipy() -> None:
    """Its import takes a second."""
    code = (
        "import sys, streams.worker, streams.dispatcher, streams.cli.sequences, streams.cli.report_tables, streams.report;"
        "sys.exit('scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
