"""A sequence's report as tables for people."""

import re
from collections.abc import Iterator
from typing import Any

import click

from actions.intervals import OF_MEANS, OF_SHARES, Interval
from actions.report import Funnel, Report, VersionReport
from actions.report_arms import Arm, SplitReport
from schemas.instants import format_duration
from streams.cli.terminal import print_table

_STEPS = ("path", "step", "reached", "waiting", "failed", "left_out", "sent", "delivered", "opened", "clicked",
          "replied", "converted", "share", "median", "p90")  # fmt: skip
_ALL = "all"


def print_report(report: Report) -> None:
    """Tables on standard output: for each version its paths, steps, exits, and splits; how it was reckoned at the end."""
    for version in report.versions:
        since = "" if report.since is None else f", entries since {report.since}"
        click.echo(
            f"{report.sequence}, version {version.version}, as of {report.as_of}{since}; "
            f"window {format_duration(report.window_ms)} after the entry"
        )
        _print_version(report, version)
    for note in report.notes:
        click.echo(f"note: {note}")


def _print_version(report: Report, version: VersionReport) -> None:
    funnels = [(_ALL, version.funnel), *((f"{each.split}: {each.path}", each.funnel) for each in version.paths)]
    columns = ("path", "entered", "running", "completed", "left_early", "converted")
    _print(columns, [_counts(path, funnel) for path, funnel in funnels])
    _print(_STEPS, [row for path, funnel in funnels for row in _steps(path, funnel)])
    exits = [[path, each.reason, each.step, each.count] for path, funnel in funnels for each in funnel.exited]
    _print(("path", "left_early_by", "at_step", "entries"), exits)
    _print(("began_nothing_as", "transitions"), [list(item) for item in version.not_begun.items()])
    for split in version.splits:
        _print_split(report, split)
    for note in version.notes:
        click.echo(f"note: {note}")


def _print(columns: tuple[str, ...], rows: list[list[Any]]) -> None:
    if rows:
        click.echo()
        print_table(columns, rows, False)


def _counts(path: str, funnel: Funnel) -> list[Any]:
    left = sum(each.count for each in funnel.exited)
    return [path, funnel.entered, funnel.running, funnel.completed, left, funnel.converted]


def _steps(path: str, funnel: Funnel) -> Iterator[list[Any]]:
    for step in funnel.steps:
        if step.reached or path == _ALL:
            sent = step.stages[0]
            left_out = ", ".join(f"{count} {code}" for code, count in step.skipped.items())
            yield [
                path, step.name, step.reached, step.waiting, step.failed, left_out or 0,
                *(stage.count for stage in step.stages), _percent(sent.share), _time(sent.median_ms), _time(sent.p90_ms),
            ]  # fmt: skip


def _print_split(report: Report, split: SplitReport) -> None:
    against = f"less {split.against}"
    columns: tuple[str, ...] = ("path", "contacts", "converted", "share", "share_95_%", against, "95_%")
    rows = [_conversion(arm) for arm in split.arms]
    _print((f"split_{split.split}", *columns[1:]), rows)
    if report.value is not None:
        value = f"{report.value}: {report.property}"
        columns = (f"split_{split.split}", "contacts", value, "per_contact", against, "95_%")
        _print(columns, [_value(arm) for arm in split.arms])
    if not split.has_holdout:
        click.echo(f"{split.split} has no holdout: its first path stands in for it")
    if split.too_early:
        click.echo(
            f"{split.too_early} contacts are left out: their {format_duration(report.window_ms)} are not over yet"
        )
    methods = [f"shares: {OF_SHARES}"] + ([f"means: {OF_MEANS}"] if report.value is not None else [])
    click.echo("; ".join(methods))


def _conversion(arm: Arm) -> list[Any]:
    return [
        f"{arm.path} (held out)" if arm.holdout else arm.path, arm.contacts, arm.converted, _percent(arm.conversion),
        _interval(arm.conversion_interval, 100, ".1f"), _signed(arm.conversion_difference, 100, ".1f", " points"),
        _interval(arm.conversion_difference_interval, 100, "+.1f"),
    ]  # fmt: skip


def _value(arm: Arm) -> list[Any]:
    return [
        f"{arm.path} (held out)" if arm.holdout else arm.path, arm.contacts, _number(arm.value),
        _number(arm.value_per_contact), _signed(arm.value_difference, 1, ",.2f", ""),
        _interval(arm.value_difference_interval, 1, "+,.2f"),
    ]  # fmt: skip


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,.2f}"


def _signed(value: float | None, times: int, form: str, unit: str) -> str | None:
    return None if value is None else f"{times * value:+{form}}{unit}"


def _interval(interval: Interval | None, times: int, form: str) -> str | None:
    return None if interval is None else f"{times * interval.low:{form}} to {times * interval.high:{form}}"


def _time(time_ms: int | None) -> str | None:
    """The two largest units: nobody waits for a mail by the millisecond."""
    return None if time_ms is None else "".join(re.findall(r"\d+[a-z]+", format_duration(time_ms))[:2])
