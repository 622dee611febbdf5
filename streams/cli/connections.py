"""`tidegate connections`: who may send, and what becomes of it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli.terminal import json_option, print_json, print_table, say, settings
from streams.settings import SECRET_PREFIX

if TYPE_CHECKING:
    from streams.connections import Connected
    from streams.vendors.connection import Connection

PAYLOAD_BYTES_MAX = 1_000_000


@click.group()
def connections() -> None:
    """Who may send to a gateway: connections in a file, with their secrets in the environment."""


file_argument = click.argument("file", required=False, metavar="[FILE]")


@connections.command()
@file_argument
@click.option("--strict", is_flag=True, help="Exit with status 1 where a secret is missing or wrong.")
def check(file: str | None, strict: bool) -> None:
    """Check a FILE of connections (default: TIDEGATE_CONNECTIONS); nothing is called.

    Each error goes to standard error on a line: what was expected, what came, and where. Exit status 2 where there is one.
    Then come, as warnings, the secrets that are missing from this environment or can't be one of their vendor: a gateway
    started in it would refuse to. No secret is ever shown.

    \b
    Examples:
      tidegate connections check connections.yaml
      tidegate connections check --strict && tidegate gateway
    """
    from streams.connections import connect, read

    found = read(file or settings().connections)
    _, problems = connect(found, os.environ)
    for line in problems:
        say(f"warning: {line}")
    if problems and strict:
        raise click.exceptions.Exit(1)
    click.echo(f"{len(found)} connection{'' if len(found) == 1 else 's'}: sound")


@connections.command("list")
@file_argument
@json_option
def list_(file: str | None, as_json: bool) -> None:
    """List the connections in a FILE (default: TIDEGATE_CONNECTIONS): where each takes what is sent, and its secrets.

    A secret that is missing from this environment, or can't be one of its vendor, has a `?` behind its name.

    \b
    Example:
      tidegate connections list
    """
    from streams.connections import connect, read
    from streams.trial import path_of
    from streams.vendors.connection import TRACKING
    from streams.vendors.registry import vendor_for

    rows = []
    for connection in read(file or settings().connections):
        _, problems = connect((connection,), os.environ)
        vendor = None if connection.vendor == TRACKING else vendor_for(connection)
        secrets = [name + ("?" if _has(problems, name) else "") for name in connection.secrets]
        path = path_of(connection, vendor) if vendor else "/v1/…"
        rows.append((connection.id, connection.vendor, path, ", ".join(secrets), ", ".join(connection.contact)))
    print_table(("connection", "vendor", "path", "secrets", "contact"), rows, as_json)


@connections.command()
@click.argument("id", metavar="ID")
@click.option("--file", metavar="FILE", help="The file of connections (default: TIDEGATE_CONNECTIONS).")
@click.option(
    "--payload", metavar="FILE", help="A body of the vendor's, in place of the sample (`-` is standard input)."
)
@click.option("--url", metavar="URL", help="Send it to the gateway there, as http://127.0.0.1:6070.")
def test(id: str, file: str | None, payload: str | None, url: str | None) -> None:
    """Send a signed sample through the connection ID, and print the events that it becomes, as JSON lines.

    Nothing is called, and nothing published: the request is made, signed with the connection's first secret, proved, and
    mapped. Without a secret in the environment, or where only the vendor can sign, it is mapped unproved, which is said. What
    the connection ignores or can't take goes to standard error, and the exit status is 1 where something can't be taken.

    With --url it is posted to a running gateway, and what came back is printed; exit status 1 where it was not taken. Its
    events are real ones there: of a contact such as `sample` or `ada@example.com`, unless --payload has another.

    \b
    Examples:
      tidegate connections test shop-stripe
      tidegate connections test shop-stripe --payload invoice.json
      tidegate connections test shop-stripe --url http://127.0.0.1:6070
    """
    from streams.clock import SystemClock
    from streams.connections import connect, read
    from streams.errors import InputError
    from streams.trial import attempt, outcomes, post

    given = settings()
    body = None if payload is None else _payload(payload)
    connection = _named(read(file or given.connections), id)
    connected, problems = connect((connection,), os.environ)
    if problems and url:
        raise InputError(*problems)
    for line in problems:
        say(f"warning: {line}")
    one = connected[0] if connected else _without_secrets(connection)
    now_ms = SystemClock().now_ms()
    called = given.gateway_url or url or "https://gateway.example"
    tried = attempt(connection, one.vendor, next(iter(one.secrets), None), body, called, now_ms)
    if url is not None:
        if tried.unsigned:
            raise InputError(f"it can't be sent: {tried.unsigned}")
        _show_answer(post(url, tried))
        return
    if tried.unsigned:
        say(f"not signed: {tried.unsigned}")
    _show_outcomes(list(outcomes(connection, one.vendor, tried, one.secrets, called, now_ms)))


def _show_outcomes(found: list[Any]) -> None:
    for each in found:
        for event in each.events:
            print_json(event)
        if each.refused:
            say(f"{each.name}: refused: {each.refused}")
        elif not each.events:
            say(f"{each.name}: ignored, as the connection says")
    if not found:
        say("nothing is told by it: a test of the vendor's, or what the vendor's page says to leave out")
    if any(each.refused for each in found):
        raise click.exceptions.Exit(1)


def _show_answer(answered: Any) -> None:
    where = f" → {answered.where}" if answered.where else ""
    click.echo(f"{answered.status}{where} {answered.text}".rstrip())
    if not 200 <= answered.status < 400:
        raise click.exceptions.Exit(1)


def _named(found: "tuple[Connection, ...]", id: str) -> "Connection":
    from actions.reader import close
    from streams.errors import InputError

    by_id = {connection.id: connection for connection in found}
    if id not in by_id:
        listed = ", ".join(by_id) or "none: there are none"
        raise InputError(f"expected the id of a connection, got {id!r}{close(id, by_id)}: there are {listed}")
    return by_id[id]


def _without_secrets(connection: "Connection") -> "Connected":
    from streams.connections import Connected
    from streams.vendors.connection import TRACKING
    from streams.vendors.registry import vendor_for

    return Connected(connection, None if connection.vendor == TRACKING else vendor_for(connection), ())


def _payload(path: str) -> bytes:
    from streams.errors import InputError

    with Path("/dev/stdin" if path == "-" else path).open("rb") as file:
        raw = file.read(PAYLOAD_BYTES_MAX + 1)
    if len(raw) > PAYLOAD_BYTES_MAX:
        raise InputError(f"{path}: expected at most {PAYLOAD_BYTES_MAX} bytes, as a gateway takes, got more")
    return raw


def _has(problems: list[str], name: str) -> bool:
    return any(line.startswith(f"{SECRET_PREFIX}{name}: ") for line in problems)
