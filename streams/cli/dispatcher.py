"""`tidegate dispatcher`: the process that sends."""

import base64
import secrets

import click

from streams.cli.terminal import run, settings


@click.command()
@click.option("--new-secret", is_flag=True, help="Print a fresh signing secret for webhooks, and end.")
def dispatcher(new_secret: bool) -> None:
    """Send deliveries: webhooks, e-mail, Slack, SMS, in-app, Kafka, Segment calls; each once.

    Reads the `deliveries` topic and writes what became of each to `outcomes`. Any number of dispatchers share the work.
    Needs Kafka and Redis; while Redis is away it waits. Messages that ask for the contact (consent, `while`, quiet hours)
    need a projector, too. SIGTERM finishes what is under way, then ends it.

    \b
    Settings that matter here (`tidegate settings` has all):
      TIDEGATE_REDIS        where the ledger is
      TIDEGATE_SMTP         the mail server, smtp://user:password@host:port or smtps://…
      TIDEGATE_MAIL_FROM    the sender, `Shop <hello@shop.example>`
      TIDEGATE_SECRET_NAME  of messages that say `secret: NAME`: a webhook's signing secret,
                            the URL of a Slack webhook, `sid:token` of an SMS account,
                            the write key of a Segment source
      TIDEGATE_PUBLIC_URL   with TIDEGATE_SECRET_UNSUBSCRIBE: links to leave a message group
      TIDEGATE_SECRET_INAPP the token to read in-app messages with
      TIDEGATE_TARGETS      hosts that may be called; none: all outside of our own network

    \b
    Example:
      export TIDEGATE_SECRET_SHOP=$(tidegate dispatcher --new-secret)
      export TIDEGATE_MAIL_FROM='Shop <hello@shop.example>' TIDEGATE_SMTP=smtp://127.0.0.1:25
      tidegate dispatcher
    """
    if new_secret:
        click.echo("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
        return
    from logging.config import dictConfig

    from streams.dispatcher import run_dispatcher
    from streams.logs import logging_config

    given = settings()
    dictConfig(logging_config(given))
    run(run_dispatcher(given))
