"""`tidegate render`: what messages would say to a contact."""

from pathlib import Path
from typing import Any

import click
import msgspec

from streams.cli.parameters import InstantType
from streams.cli.terminal import json_option, print_json, run, say, settings


@click.command()
@click.argument("definitions", metavar="DEFINITIONS", nargs=-1, required=True)
@click.option("--contact", required=True, metavar="ID", help="Whose traits, and who is addressed.")
@click.option("--traits", "given_traits", metavar="JSON", help="These traits, in place of those of the running system.")
@click.option("--message", "wanted", metavar="NAME", help="One alone: a rule's id, or SEQUENCE/STEP.")
@click.option("--at", "at_ms", type=InstantType(), help="When the transition is taken to be (default: now).")
@json_option
def render(
    definitions: tuple[str, ...],
    contact: str,
    given_traits: str | None,
    wanted: str | None,
    at_ms: int | None,
    as_json: bool,
) -> None:
    """Show what the messages in DEFINITIONS would say to a contact; nothing is sent.

    DEFINITIONS are files of rules and sequences with the segments that they name. The contact's traits are those that the
    projector keeps in Redis, or what --traits says. Where a template names what the contact doesn't have, that is said, and
    the exit status is 1: such a message would not be sent. A link to leave the group is shown as a stand-in.

    \b
    Examples:
      tidegate render actions/examples/onboarding.yaml --contact c-17
      tidegate render welcome.yaml --contact c-17 --traits '{"email": "ada@shop.example"}' --message onboarding/welcome
    """
    from actions import rule_of
    from actions.preview import messages_of, preview
    from schemas.instants import format_instant
    from streams.clock import SystemClock
    from streams.definition_files import check_files, open_files
    from streams.revisions import InForce

    given = settings()
    checked = check_files(open_files(definitions), InForce(), Path(given.templates), given.limits())
    rules = [rule_of(body) for (kind, _), body in checked.bodies.items() if kind == "rule"]
    named = messages_of(rules, checked.sequences)
    names = [name for name, _ in named]
    if wanted is not None and wanted not in names:
        raise click.UsageError(f"expected a message of {', '.join(names) or 'none: there are none'}, got {wanted!r}")
    traits = _given(given_traits) if given_traits is not None else run(_kept(contact))
    at = format_instant(SystemClock().now_ms() if at_ms is None else at_ms)
    shown = [preview(name, rule, contact, traits, at) for name, rule in named if wanted in (None, name)]
    if as_json:
        print_json([msgspec.to_builtins(each) for each in shown])
    else:
        for each in shown:
            click.echo(f"── {each.of} · {each.channel} · {each.target or 'nobody'}")
            for part, text in each.parts.items():
                click.echo(f"{part}: {text}" if "\n" not in text else f"{part}:\n{text}")
            click.echo()
    for each in shown:
        for problem in each.problems:
            say(f"{each.of}: {problem}")
    if any(each.problems for each in shown):
        raise click.exceptions.Exit(1)


def _given(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"--traits: expected a JSON object, got something else: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"--traits: expected a JSON object, got {text[:60]}")
    return found


async def _kept(contact: str) -> dict[str, Any]:
    """Traits of a contact in the read model."""
    import redis.asyncio as redis

    from actions.read_model import ReadModel
    from streams.dispatcher_setup import connect
    from streams.errors import InputError

    given = settings()
    client = connect(given)
    try:
        found = await ReadModel(client, given.prefix).traits(contact)
    except (redis.RedisError, OSError) as error:
        raise InputError(
            f"expected Redis to tell the traits of {contact!r}, got {type(error).__name__}: set TIDEGATE_REDIS, or give --traits"
        ) from None
    finally:
        await client.aclose()
    if found is None:
        raise InputError(
            f"expected a contact that the projector knows, got {contact!r}: see that `tidegate projector` runs, or give --traits"
        )
    return found
