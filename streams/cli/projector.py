"""`tidegate projector`: the process that keeps contacts, memberships and the catalogue of fields in Redis."""

import click

from streams.cli.terminal import Countdown, run, settings


@click.command()
@click.option("--rebuild", is_flag=True, help="Throw away what Redis has of contacts, and read all of it anew.")
def projector(rebuild: bool) -> None:
    """Keep contacts and memberships in Redis, for the checks that a dispatcher makes before it sends, and for whoever asks.

    Reads `contacts`, `memberships`, `events.email` and `events.own` (bounces and complaints). Any number of projectors share
    the work, and each may be killed at any moment. Needs Kafka and Redis; while Redis is away it waits. SIGTERM ends it.

    Beside that it gathers which traits and properties all events have (`tidegate fields`), with a quarter of a core at most, so
    that nothing waits for it.

    --rebuild takes the catalogue of fields along, and leaves the ledger and what caps count alone. Until it has read
    everything (/readyz says how far it is), messages that ask for consent, for a segment or for the contact's time of day
    wait, and who asks for contacts or members is told that they are still being read. The same holds after an upgrade to a
    version that keeps more in Redis than the one before.

    \b
    Settings that matter here (`tidegate settings` has all):
      TIDEGATE_REDIS     where to
      TIDEGATE_WEB_PORT  metrics and health

    \b
    Example:
      TIDEGATE_WEB_PORT=6068 tidegate projector
    """
    import sys
    from logging.config import dictConfig

    from streams.logs import logging_config
    from streams.projector import run_projector

    given = settings()
    dictConfig(logging_config(given))
    bar = Countdown("records") if sys.stderr.isatty() else None
    try:
        run(run_projector(given, rebuild=rebuild, show=bar.show if bar else None))
    finally:
        if bar is not None:
            bar.end()
