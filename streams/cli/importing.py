"""What commands that import files share: which lines had problems, rows on their way, and what is said at the end."""

import json
from typing import TYPE_CHECKING, Any

import click

from streams.cli.terminal import print_json, progress, run, say

if TYPE_CHECKING:
    from streams.imports import Import
    from streams.imports_mapping import Mapping
    from streams.publish import Published
    from streams.settings import Settings

PROBLEMS_SHOWN = 100
EVENTS_SHOWN = 10


class Problems:
    """What is said of lines: the first so many, and how many more there were."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._said = 0

    def __call__(self, number: int, sentence: str) -> None:
        self._said += 1
        if self._said <= PROBLEMS_SHOWN:
            say(f"{self._name}:{number}: {sentence}")

    def end(self) -> None:
        """Says how many weren't said."""
        if self._said > PROBLEMS_SHOWN:
            say(f"… and {self._said - PROBLEMS_SHOWN} more lines with problems")


def say_fell(done: "Published") -> None:
    """Says that lines were not in order of arrival, where that is so."""
    if done.fell:
        say(
            f"note: {done.fell} lines have an earlier `receivedAt` than a line before them, line {done.fell_first_line} "
            "first; with TIDEGATE_CLOCK=arrival, sort by it to get what `tidegate simulate` gets"
        )


def import_rows(
    given: "Settings", path: str, mapping: "Mapping", opening: dict[str, Any], options: dict[str, Any], as_json: bool
) -> int:
    """Publishes the file at `path` by `mapping`, or with `keeps_place` False in `opening` shows what it would be.

    The exit status: 1 where there are bad rows. `opening` is for `open_import`, `options` for `publish`.
    """
    from streams.imports import open_import

    problems = Problems(path)
    with open_import(path, mapping, given, **opening) as imported:
        if imported.start.done:
            say(f"{path} was imported whole before: nothing to do")
            return 0
        if imported.start.offset:
            say(f"going on behind line {imported.start.lines}, up to which Kafka has {imported.start.events:,} events")
        try:
            if opening["keeps_place"]:
                _send(given, imported, problems, options)
            else:
                _show(imported, problems)
        except BaseException:
            if imported.goes_on_behind:
                say(f"Kafka has it up to line {imported.goes_on_behind}: the same command with --resume goes on there")
            raise
        finally:
            problems.end()
            if imported.not_noted is not None:
                say(f"note: {imported.not_noted}")
        done = imported.place()
    what = "published" if opening["keeps_place"] else "would be published"
    say(f"{done.events:,} events {what}, {done.skipped:,} rows left out by `skip`, {done.bad:,} bad rows")
    if as_json:
        print_json({"events": done.events, "skipped": done.skipped, "bad": done.bad})
    return 1 if done.bad else 0


def _send(given: "Settings", imported: "Import", problems: Problems, options: dict[str, Any]) -> None:
    from streams.publish import publish as publish_blocks

    with progress("events", imported.bytes_total) as advance:
        done = run(
            publish_blocks(
                given,
                imported.blocks(),
                imported.route,
                say=problems,
                advance=lambda count: advance(count, imported.bytes_read),
                place=imported.place,
                acknowledged=imported.acknowledged,
                **options,
            )
        )
    say_fell(done)


def _show(imported: "Import", problems: Problems) -> None:
    """The first events on standard output; the rest is read for what is wrong with it."""
    from streams.publish import Unroutable

    shown = 0
    with progress("rows", imported.bytes_total) as advance:
        for block in imported:
            for number, row in block:
                try:
                    routed = imported.route(number, row)
                except Unroutable as error:
                    problems(number, f"no event: {error}")
                    continue
                if routed is not None and shown < EVENTS_SHOWN:
                    shown += 1
                    click.echo(_escaped(routed.value.decode()))
            advance(imported.place().events, imported.bytes_read)


def _escaped(text: str) -> str:
    """The same JSON with nothing in it that steers a terminal: of such characters it escapes the first 32 itself."""
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
