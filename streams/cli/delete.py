"""`tidegate delete`: contacts are forgotten, for good."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from streams.cli.parameters import DurationType
from streams.cli.terminal import json_option, print_table, progress, run, say, settings

if TYPE_CHECKING:
    from streams.erasure import Answer

# beyond that many the question says only how many there are
NAMED_MAX = 5


@click.command()
@click.argument("contacts", metavar="ID…", nargs=-1)
@click.option("--file", metavar="FILE", help="A file with an id in each line (`-` is standard input).")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--wait", "wait_ms", type=DurationType(), default="60s", show_default=True, help="For so long without an answer."
)
@json_option
def delete(contacts: tuple[str, ...], file: str | None, yes: bool, wait_ms: int, as_json: bool) -> int:
    """Erase contacts: they leave all segments with the cause `erasure`, and nothing is kept of them any more.

    A `delete` of each is published; the workers write tombstones into `state`, `contacts` and `memberships`, and a receipt
    into `erasures`, which this waits for. A receipt has no id but its SHA-256 (`hash`): whoever knows the id finds it by
    that. There is no way back, and what comes of the same id afterwards is of a new contact.

    `erased`; `unknown`: nothing was kept of such a contact (any more); `rejected`: a worker could not take the `delete`, and
    says why; `waiting`: Kafka has it and no worker has taken it yet, which it will. Exit status 1 where there is one of the
    last two.

    \b
    Examples:
      tidegate delete ada@shop.example
      tidegate delete --file requests.txt --yes --json
    """
    from streams.erasure import contacts_of, erase

    if not contacts and file is None:
        raise click.UsageError("expected ids, or --file, got neither")
    given, asked = settings(), contacts_of(contacts, file)
    if not asked:
        say("no ids there: nothing to do")
        return 0
    if not yes:
        _confirm(asked)
    with progress("contacts", len(asked)) as advance:
        answers = run(erase(given, asked, wait_s=wait_ms / 1000, advance=lambda count: advance(count, count)))
    print_table(("contact", "what", "at", "hash", "why"), [_row(answer) for answer in answers], as_json)
    return _say(answers, len(asked) - len(answers))


def _confirm(asked: Sequence[str]) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("expected --yes where nobody can be asked: what is erased doesn't come back")
    named = ", ".join(map(repr, asked)) if len(asked) <= NAMED_MAX else f"{len(asked):,} contacts"
    click.confirm(f"Erase {named} for good?", abort=True, err=True)


def _row(answer: "Answer") -> tuple[str | None, ...]:
    return answer.contact, answer.what, answer.at, answer.hash, answer.why


def _say(answers: Sequence["Answer"], not_asked: int) -> int:
    count = {
        what: sum(answer.what == what for answer in answers) for what in ("erased", "unknown", "rejected", "waiting")
    }
    say(", ".join(f"{number:,} {what}" for what, number in count.items() if number))
    if count["waiting"]:
        say(
            "no worker has taken all of them in time: Kafka has each `delete`, and they are taken as soon as workers get there; "
            "`tidegate status` says how these stand"
        )
    if not_asked:
        say(f"the last {not_asked:,} were not asked for: the same command again goes on, it harms no one who is erased")
    if count["erased"]:
        say("Kafka's own copies go as compaction and retention have it: deploy/README.md, Erasing contacts")
    return 1 if count["rejected"] or count["waiting"] or not_asked else 0
