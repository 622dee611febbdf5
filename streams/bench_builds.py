"""`tidegate bench core`: the core measured in pure Python and compiled, each in a process of its own, side by side."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from streams.bench_core import LABELS, LEAVES, SIZES, Figures
from streams.cli.terminal import say
from streams.errors import StreamsError
from streams.settings import PURE


def run_core(events: int, *, full: bool, as_json: bool) -> None:
    """Measures each build that there is, and prints. Raises `StreamsError`."""
    builds = {}
    for pure in (False, True):
        figures = _child(events, full, pure)
        builds[figures.pop("build")] = figures
        if "compiled" not in builds:
            say("there is no compiled core of these sources here: pure Python alone (deploy/README.md)")
            break
    _check_alike(builds)
    click.echo(json.dumps(builds, indent=2) if as_json else "\n".join(table(builds)))


def _child(events: int, full: bool, pure: bool) -> Figures:
    """Runs `python -m streams.bench_core` and reads what it measured."""
    environment = {**os.environ, PURE: "1" if pure else os.environ.get(PURE, "")}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "figures.json"
        argv = [sys.executable, "-m", "streams.bench_core", str(file), str(events), "full" if full else ""]
        status = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
        if status:
            raise StreamsError(f"bench core: a measuring process ended with status {status}, what it said stands above")
        figures: Figures = json.loads(file.read_text())
    return figures


def _check_alike(builds: dict[str, Figures]) -> None:
    """Figures of builds that answer differently would say nothing; raises `StreamsError`."""
    answers = {name: [load["transitions"] for load in figures["loads"].values()] for name, figures in builds.items()}
    if len({json.dumps(answer) for answer in answers.values()}) > 1:
        raise StreamsError(f"bench core: expected the same transitions of both builds, got {answers}")


def table(builds: dict[str, Figures]) -> list[str]:
    """The figures for people, one build beside the other."""
    each = [builds[name] for name in LABELS if name in builds]
    lines = [f"{'':46}" + "".join(f"{LABELS[name]:>22}" for name in LABELS if name in builds)]
    lines.append(f"{'CPU time of one core':46}" + f"{'a second':>14}{'µs':>8}" * len(each))
    for load in each[0]["loads"]:
        lines += _load_rows(load, [figures["loads"][load] for figures in each])
    lines.append(_row("due instants, each its own step", [figures["due_us"] for figures in each]))
    lines.append(_row("definitions compiled, 10,000 at once", [figures["compile_us"] for figures in each]))
    if "simulate" in each[0]:
        simulated = [figures["simulate"] for figures in each]
        lines.append(_row("simulate, a million lines, 100 segments", [figures["us"] for figures in simulated]))
        lines.append(f"{'  memory at most':46}" + "".join(f"{figures['memory_mib']:>18,} MiB" for figures in simulated))
    state = each[0]["state_bytes"]
    lines.append(f"a contact's state with {LEAVES} leaves: {state['median']:,} bytes, {state['max']:,} at most")
    return lines


def _load_rows(load: str, builds: list[Figures]) -> list[str]:
    """What the events of one load cost in each build."""
    first = builds[0]
    often = first["transitions"][0] / first["events"]
    lines = [f"{load}: {first['events']:,} events of {first['contacts']:,} contacts, {often:.2f} transitions an event"]
    lines += [
        _row(f"  {size} segments", [figures["sizes"][size]["us"] for figures in builds]) for size in first["sizes"]
    ]
    ratios = "".join(f"{figures['ratio']:>20.2f} ×" for figures in builds)
    lines.append(f"{f'  cost with {SIZES[-1]:,} against {SIZES[0]}':46}{ratios}")
    lines.append(_row("  lines read, which is not in the above", [figures["parse_us"] for figures in builds]))
    return lines


def _row(label: str, micros: Sequence[float]) -> str:
    return f"{label:46}" + "".join(f"{1e6 / each:>14,.0f}{each:>8.2f}" for each in micros)
