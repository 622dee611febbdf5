"""What the commands share: settings, tables, lines for people, progress, running a coroutine."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click
import orjson

from streams.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
PROGRESS_LINE_S = 5.0

json_option = click.option("--json", "as_json", is_flag=True, help="JSON in place of a table.")


def settings() -> Settings:
    """Settings from the environment; raises `SettingError`."""
    return load_settings()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs `coroutine` to its end."""
    from streams import loop

    return loop.run(coroutine)


def say(line: str) -> None:
    """A line for people, on standard error."""
    click.echo(line, err=True)


def print_json(value: Any) -> None:
    """One JSON line on standard output."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], as_json: bool) -> None:
    """A table on standard output; with `as_json` an array of objects with the columns' names."""
    rows = [list(row) for row in rows]
    if as_json:
        sys.stdout.write(orjson.dumps([dict(zip(columns, row, strict=True)) for row in rows]).decode() + "\n")
        return
    lines = [[name.replace("_", " ") for name in columns], *([printable(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def printable(value: Any) -> str:
    """A value on one line of a terminal, `-` for none."""
    if value is None:
        return "-"
    # names and reasons come from files and events: none of them steers the terminal
    return "".join(character if character.isprintable() else "\ufffd" for character in " ".join(str(value).split()))


@contextlib.contextmanager
def progress(what: str, total_bytes: int | None) -> Iterator[Callable[[int, int], None]]:
    """`advance(things so far, bytes so far)`, shown on standard error: a bar on a terminal, else a line now and then.

    `what` is the plural of the things; `total_bytes` None means that the end can't be known.
    """
    with _bar(what, total_bytes) if sys.stderr.isatty() else _lines(what, total_bytes) as advance:
        yield advance


@contextlib.contextmanager
def _lines(what: str, total_bytes: int | None) -> Iterator[Callable[[int, int], None]]:
    started_s = said_s = time.monotonic()

    def advance(count: int, done_bytes: int) -> None:
        nonlocal said_s
        now_s = time.monotonic()
        if now_s - said_s >= PROGRESS_LINE_S:
            said_s = now_s
            share = f", {100 * done_bytes // total_bytes} %" if total_bytes else ""
            say(f"{count:,} {what}, {count / (now_s - started_s):,.0f}/s{share}")

    yield advance


@contextlib.contextmanager
def _bar(what: str, total_bytes: int | None) -> Iterator[Callable[[int, int], None]]:
    started_s = time.monotonic()
    with _shown(what) as shown:
        task = shown.add_task(what, total=total_bytes, count=0, rate=0.0)

        def advance(count: int, done_bytes: int) -> None:
            rate = count / max(time.monotonic() - started_s, 1e-3)
            shown.update(task, completed=done_bytes, count=count, rate=rate)

        yield advance


class Countdown:
    """A bar on the terminal for as long as there is something to do, of a process that goes on; log lines go above it."""

    def __init__(self, what: str) -> None:
        """`what` is the plural of the things."""
        self._what = what
        self._bar: Progress | None = None
        self._done = self._done_first = 0
        self._started_s = 0.0

    def show(self, done: int, to_go: int) -> None:
        """How many things are done and to be done; with nothing to do the bar is left as it is then, and the next is new."""
        if self._bar is None and to_go:
            self._done_first, self._started_s = self._done, time.monotonic()
            self._bar = _shown(self._what)
            self._bar.add_task(self._what, count=0, rate=0.0)
            self._bar.start()
            _log_to(sys.stderr)  # it stands for the bar's console now
        if self._bar is not None:
            count = done - self._done_first
            rate = count / max(time.monotonic() - self._started_s, 1e-3)
            self._bar.update(self._bar.task_ids[0], total=count + to_go, completed=count, count=count, rate=rate)
            if not to_go:
                self.end()
        self._done = done

    def end(self) -> None:
        """Leaves the bar as it is."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()
            _log_to(sys.stderr)


def _log_to(stream: TextIO) -> None:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(stream)


def _shown(what: str) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[count]:>12,} " + what),
        BarColumn(),
        TextColumn("{task.fields[rate]:>9,.0f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))
