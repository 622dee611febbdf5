"""`tidegate deliveries`: what is sent, what became of it, and what to do about it."""

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from schemas.deliveries import CHANNELS, STATUSES
from streams.cli.terminal import json_option, print_json, print_table, run, say, settings
from streams.deliveries import QUEUED, Standing
from streams.settings import Settings

_COLUMNS = ("at", "status", "code", "channel", "rule", "step", "contact", "attempts", "reason", "id")
# why a sequence was not begun: such an outcome is of none of its steps
_NOT_BEGUN = ("cause", "silent", "before_rule", "running", "again", "limit")


@click.group()
def deliveries() -> None:
    """List, show, retry, pause and resume deliveries.

    A delivery is a message that a rule or a step of a sequence wants sent because of a transition. `queued`: no
    dispatcher has taken it yet. `waiting`: for another attempt, for its time or for the end of a pause. `sent`, `failed`,
    `skipped` (left out): over. `code` and `reason` say why; `rule` is the sequence's id where there is a `step`.
    """


@deliveries.command("list")
@click.option("--status", type=click.Choice([QUEUED, *STATUSES]), help="Only those.")
@click.option("--channel", type=click.Choice(CHANNELS), help="Only those of this channel.")
@click.option("--rule", help="Only those of this rule or sequence.")
@click.option("--contact", help="Only those to this contact.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="The newest so many.")
@json_option
def list_(
    status: str | None, channel: str | None, rule: str | None, contact: str | None, limit: int, as_json: bool
) -> None:
    """List deliveries, the newest last.

    \b
    Example: what went wrong with the mails of a rule?
      tidegate deliveries list --status failed --rule cart-mail
    """
    from streams.deliveries import standings, step_names

    given = settings()
    matching = [
        standing
        for standing in run(standings(given)).values()
        if status in (None, standing.status)
        and channel in (None, standing.source.channel)
        and rule in (None, standing.source.rule)
        and contact in (None, standing.source.contact)
    ]
    shown = matching[-limit:]
    names = run(step_names(given)) if any(standing.source.kind == "sequence" for standing in shown) else {}
    print_table(_COLUMNS, [_row(standing, names) for standing in shown], as_json)
    if len(matching) > limit:
        say(f"{len(matching) - limit} older ones are not shown (--limit)")
    _say_paused(given)


@deliveries.command()
@click.argument("id")
@json_option
def show(id: str, as_json: bool) -> int:
    """Show all that is known of delivery ID: what is to be sent, and every attempt.

    \b
    Example:
      tidegate deliveries show 807a7e461c91df0ba425f2fee4ddda6f
    """
    from streams.deliveries import standings

    found = run(standings(settings(), ids=[id])).get(id)
    if found is None:
        say(f"expected the id of a delivery, got {id!r}, which the topics don't have: `tidegate deliveries list`")
        return 2
    outcomes = sorted(found.outcomes, key=lambda outcome: (outcome.rank, outcome.at))
    shown: dict[str, Any] = {
        "id": id,
        "status": found.status,
        "delivery": msgspec.to_builtins(found.delivery),
        # what waits carries the delivery, which is shown already
        "outcomes": [msgspec.to_builtins(msgspec.structs.replace(outcome, again=None)) for outcome in outcomes],
    }
    if as_json:
        print_json(shown)
        return 0
    click.echo(f"{id} is {found.status}")
    if found.delivery is not None:
        click.echo(msgspec.json.format(msgspec.json.encode(found.delivery), indent=2).decode())
    columns = ("at", "status", "retry", "attempts", "code", "due_at", "reason")
    print_table(columns, [[getattr(outcome, name) for name in columns] for outcome in outcomes], False)
    return 0


@deliveries.command()
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all-failed", is_flag=True, help="All that failed, in place of ids.")
@click.option("--rule", help="With --all-failed: only those of this rule.")
def retry(ids: tuple[str, ...], all_failed: bool, rule: str | None) -> None:
    """Send failed deliveries again, with the same ids, so that a receiver that has one after all can tell.

    \b
    Example: the shop's server was down for a night
      tidegate deliveries retry --all-failed --rule crm
    """
    from streams.deliveries import retry as ask_again
    from streams.deliveries import standings

    if bool(ids) == all_failed or (rule is not None and not all_failed):
        raise click.UsageError("expected either ids, or --all-failed (with --rule, if only of one)")
    given = settings()
    if all_failed:
        found = run(standings(given)).values()
        ids = tuple(each.id for each in found if each.status == "failed" and rule in (None, each.source.rule))
    for delivery in run(ask_again(given, ids)) if ids else ():
        say(f"{delivery.id} is queued again, for the {_ordinal(delivery.retry)} time")
    if not ids:
        say("nothing has failed" + (f" of rule {rule!r}" if rule else ""))


@deliveries.command()
@click.option("--channel", "channels", type=click.Choice(CHANNELS), multiple=True, help="All of this channel.")
@click.option("--rule", "rules", multiple=True, help="All of this rule.")
@click.option("--sequence", "sequences", multiple=True, help="All of this sequence.")
def pause(channels: tuple[str, ...], rules: tuple[str, ...], sequences: tuple[str, ...]) -> None:
    """Send nothing more of a channel, a rule or a sequence until `resume`: at once, and over restarts.

    What is on the way to its receiver at this moment still arrives. What comes meanwhile waits, and goes out afterwards.

    \b
    Example:
      tidegate deliveries pause --rule cart-mail
    """
    from streams.clock import SystemClock
    from streams.deliveries import pause as put_pause

    given, helds = settings(), _helds(channels, rules, sequences)
    run(put_pause(given, helds, SystemClock().now_ms()))
    _say_paused(given)


@deliveries.command()
@click.option("--channel", "channels", type=click.Choice(CHANNELS), multiple=True, help="All of this channel.")
@click.option("--rule", "rules", multiple=True, help="All of this rule.")
@click.option("--sequence", "sequences", multiple=True, help="All of this sequence.")
def resume(channels: tuple[str, ...], rules: tuple[str, ...], sequences: tuple[str, ...]) -> None:
    """Send again what was paused, and what has been waiting since.

    \b
    Example:
      tidegate deliveries resume --rule cart-mail
    """
    from streams.deliveries import paused
    from streams.deliveries import resume as end_pause

    given, helds = settings(), _helds(channels, rules, sequences)
    before = run(paused(given))
    for held in helds:
        say(f"{held} goes on" if held in before else f"{held} was not paused")
    run(end_pause(given, [held for held in helds if held in before]))
    _say_paused(given)


def _helds(channels: tuple[str, ...], rules: tuple[str, ...], sequences: tuple[str, ...]) -> list[str]:
    named = {"channel": channels, "rule": rules, "sequence": sequences}
    if not any(named.values()):
        raise click.UsageError("expected --channel, --rule or --sequence")
    return [f"{kind}/{name}" for kind, names in named.items() for name in names]


def _row(standing: Standing, names: Mapping[tuple[str, int, int], str]) -> list[Any]:
    source, outcome = standing.source, standing.outcome
    attempts, code, reason = (outcome.attempts, outcome.code, outcome.reason) if outcome else (0, None, None)
    led = source.kind == "sequence" and code not in _NOT_BEGUN
    step = names.get((source.rule, source.rule_version, source.step), str(source.step)) if led else None
    return [
        standing.at, standing.status, code, source.channel, source.rule, step, source.contact, attempts, reason,
        standing.id,
    ]  # fmt: skip


def _say_paused(given: Settings) -> None:
    from streams.deliveries import paused

    found = run(paused(given))
    for held, each in found.items():
        kind, _, name = held.partition("/")
        say(f"paused: {kind} {name}, since {each.paused_at} (`tidegate deliveries resume --{kind} {name}`)")


def _ordinal(count: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(count, f"{count}th")
