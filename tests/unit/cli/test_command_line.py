"""The command line itself: what it promises of every command."""

import asyncio
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from streams import cli
from streams.cli import COMMANDS
from streams.errors import BrokerError
from streams.settings import SETTINGS, load_settings
from streams.surroundings import look


def _commands(group: click.Group, path: str) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += _commands(command, f"{path} {name}")
        else:
            found.append((f"{path} {name}", command))
    return found


def _every() -> list[tuple[str, click.Command]]:
    found = []
    for name, (module, _) in COMMANDS.items():
        command = getattr(importlib.import_module(module), name)
        found += _commands(command, name) if isinstance(command, click.Group) else [(name, command)]
    return found


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)


@pytest.mark.parametrize(("path", "command"), _every(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_teaches_with_an_example(path: str, command: click.Command) -> None:
    """`--help` is where people learn a command."""
    assert command.help is not None
    assert re.search(rf"Examples?:(.|\n)*tidegate {path}( |$|\n)", command.help), command.help


def test_help_lists_every_command_and_imports_none() -> None:
    """It answers at once, and where a command can't be loaded."""
    asked = (
        "import sys; from streams.cli import run; run(['--help']); "
        "print([name for name in ('aiokafka', 'faust', 'rich', 'uvloop', 'actions') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert all(re.search(rf"^  {name} ", done.stdout, re.MULTILINE) for name in COMMANDS)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_command_that_cannot_be_loaded_says_so_and_the_others_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broken module is no reason for a traceback."""
    monkeypatch.setitem(COMMANDS, "broken", ("streams.cli.not_there", "Is broken"))

    assert cli.run(["broken"]) == 1
    assert "the command 'broken' can't be loaded: No module named 'streams.cli.not_there'" in capsys.readouterr().err
    assert cli.run(["settings"]) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["check"], 2, "Missing argument 'FILE...'"),
        (["check", "/not/there.yaml"], 2, "/not/there.yaml: expected a file of definitions: No such file or directory"),
        (["check", "/"], 2, "/: expected a file of definitions: Is a directory"),
        (["simulate", "/not/there", "-"], 2, "/not/there: expected a file of definitions: No such file or directory"),
        (["publish", "-", "--until", "soon"], 2, "expected an instant such as 2026-03-01"),
        (["publish", "-", "--until", "2026-03-01"], 2, "expected TIDEGATE_CLOCK=arrival with --until"),
        (["publish", "-", "--rate", "0"], 2, "expected a number above 0, got '0'"),
        (["tail", "--until-idle", "5"], 2, "expected a duration such as 500ms"),
        (["tail", "transition"], 2, "'transition' is not one of"),
        (["rejected", "show", "--reason", "mood"], 2, "'mood' is not one of"),
        (["schemas", "nonsense"], 2, "expected one of event, "),
    ],
)
def test_bad_usage_exits_2_and_says_what_was_expected(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error; standard output stays empty for whoever reads results."""
    assert cli.run(arguments) == status
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TIDEGATE_GRACE", "soon", "TIDEGATE_GRACE: expected a duration such as 500ms, 2s or 1d12h, got 'soon'"),
        ("TIDEGATE_BROKR", "x", "TIDEGATE_BROKR: no such setting; did you mean TIDEGATE_BROKER?"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By every command that reads settings."""
    monkeypatch.setenv(variable, value)

    assert cli.run(["settings"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["topics", "create"], ["topics", "check"], ["segments", "list"], ["tail"], ["rejected", "list"], ["publish", "-"]],
    ids=" ".join,
)
def test_without_a_broker_the_address_and_the_way_out_are_said(
    arguments: list[str], free_port: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a line, at once, with status 1."""
    assert callable(free_port)
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("TIDEGATE_BROKER", address)

    assert cli.run(arguments) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert address in err
    assert "Connection refused" in err
    assert "TIDEGATE_BROKER" in err


def test_an_error_that_nobody_expected_is_two_lines_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--traceback` is there for whoever reports it."""

    def fail() -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("streams.cli.settings.load_settings", fail)

    assert cli.run(["settings"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("unexpected ZeroDivisionError: division by zero\n")
    assert "Traceback" not in err
    with pytest.raises(ZeroDivisionError):
        cli.run(["--traceback", "settings"])


def test_settings_show_no_password(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL may hold one."""
    monkeypatch.setenv("TIDEGATE_REDIS", "redis://worker:hunter2@redis.example:6379/0")

    assert cli.run(["settings"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "redis://worker:***@redis.example:6379/0" in out


def test_settings_show_that_there_is_a_password_and_not_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("SECURITY", "SASL_SSL"), ("USER", "shop"), ("PASSWORD", "hunter2")):
        monkeypatch.setenv(f"TIDEGATE_BROKER_{name}", value)

    assert cli.run(["settings"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "***" in out


def test_a_reader_that_has_seen_enough_gets_no_complaint(tmp_path: Path) -> None:
    """`tidegate simulate … | head -1`."""
    (tmp_path / "s.yaml").write_text("segments: [{id: all, when: {everyone: true}}]")
    events = tmp_path / "e.jsonl"
    events.write_text(
        "".join(f'{{"type":"identify","userId":"c-{n}","timestamp":{n}}}\n' for n in range(1, 20_000)), "utf-8"
    )
    command = f"'{sys.executable}' -c 'from streams.cli import main; main()' simulate s.yaml e.jsonl | head -1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, env={**os.environ}, check=True
    )

    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


_SETTINGS = 'from streams.cli import main; main(["settings"])'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_said_in_a_line() -> None:
    """It is no fault of ours, and no success either."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", _SETTINGS], stdout=full, stderr=subprocess.PIPE)

    assert done.returncode == 1
    assert done.stderr == b"could not write what came out: No space left on device\n"


def test_a_command_works_with_its_output_closed() -> None:
    """`>&-`, as some supervisors do."""
    closed = f"exec {sys.executable} -c '{_SETTINGS}' >&- 2>&-"

    assert subprocess.run(["sh", "-c", closed]).returncode == 0


@pytest.mark.parametrize("rate", ["nan", "inf", "0", "-1", "fast"])
def test_a_rate_that_is_none_is_refused(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["publish", "-", "--rate", rate]) == 2
    assert f"expected a number above 0, got '{rate}'" in capsys.readouterr().err


def test_standard_input_cannot_be_both_definitions_and_events(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["simulate", "-", "-"]) == 2
    assert "expected one of SEGMENTS and EVENTS on standard input, got both" in capsys.readouterr().err


def test_a_refused_connection_reads_the_same_on_any_event_loop(free_port: object) -> None:
    """asyncio's own says "Connect call failed" where uvloop has the reason; a worker checks its topics on the former."""
    assert callable(free_port)
    settings = load_settings({"TIDEGATE_BROKER": f"127.0.0.1:{free_port()}"})

    with pytest.raises(BrokerError, match="Connection refused"):
        asyncio.run(look(settings))
