"""`tidegate gateway`: the process that takes events in over HTTP."""

import click

from streams.cli.terminal import run, settings


@click.command()
def gateway() -> None:
    """Take events in over HTTP: Segment's tracking API, and vendors' webhooks.

    \b
      POST /v1/identify, track, page, screen, group, alias   one event
      POST /v1/batch, /v1/import                             up to 2,500 of them
      GET  /openapi.json                                     what there is

    Point an SDK of Segment's at it by changing the SDK's host; its write key is the secret of a connection with the vendor
    `tracking`. What is answered with 200, Kafka has, on all replicas. Events that can't be taken are in `tidegate rejected`.
    While Kafka is slow requests are answered with 429, while it is away with 503: SDKs send them again.

    It speaks HTTP: what has TLS, and the names that the world knows, stands before it. Needs Kafka, no Redis; it begins and
    goes on without Kafka. SIGTERM ends it, once all that it was sent is answered.

    \b
    Settings that matter here (`tidegate settings` has all):
      TIDEGATE_CONNECTIONS    who may send: the file of connections
      TIDEGATE_GATEWAY_PORT   where it takes events, as does TIDEGATE_GATEWAY_HOST
      TIDEGATE_GATEWAY_BYTES  how much may wait for Kafka
      TIDEGATE_WEB_PORT       where its /metrics, /livez and /readyz are: not for the world

    \b
    Example:
      export TIDEGATE_SECRET_WEBSITE_KEY=$(openssl rand -hex 16)
      echo 'connections: [{id: website, vendor: tracking, secret: WEBSITE_KEY}]' > connections.yaml
      tidegate gateway &
      curl -u "$TIDEGATE_SECRET_WEBSITE_KEY:" http://127.0.0.1:6070/v1/track \\
        -d '{"userId": "ada", "event": "Signed Up"}'
    """
    from logging.config import dictConfig

    from streams.gateway.process import run_gateway
    from streams.logs import logging_config

    given = settings()
    dictConfig(logging_config(given))
    run(run_gateway(given))
