"""`tidegate api`: the process that answers over HTTP."""

import click

from streams.cli.terminal import run, settings


@click.command()
def api() -> None:
    """Answer over HTTP what Tidegate knows.

    \b
      GET /v1/contacts/ID            traits, consent and memberships of a contact
      POST /v1/contacts/ID/memberships
                                     whether it is in each of the segments of `{"segments": [...]}`
      GET /v1/segments               those in force; /v1/segments/ID has the definition, too
      GET /v1/segments/ID/size       how many are in one now
      GET /v1/segments/ID/members    who, in pages of `limit`; `next` goes on as `after`
      GET /v1/segments/ID/members.csv, members.ndjson
                                     all of them at once
      GET /v1/sequences              those in force, with their versions
      GET /v1/sequences/ID/report    what one was worth: the options and the JSON of
                                     `tidegate sequences report ID --json`, as parameters
                                     window, version, since, value, property
      GET /v1/fields                 the traits and properties that events have had: the JSON of
                                     `tidegate fields --json`, as parameters event, kind, source,
                                     conflicts, limit; samples are of contacts
      GET /openapi.json, /docs       what there is, and a page to try it (its scripts come from
                                     cdn.jsdelivr.net)
      GET /metrics, /livez, /readyz  as of every process

    Whoever asks shows a token, `Authorization: Bearer …`, which opens what its scopes say: contacts:read, memberships:read,
    segments:read, reports:read, fields:read, export. Tokens are no browser's. Errors are problem details (RFC 9457), with a
    sentence in `detail`.

    A report is read from the topics, in a process of its own: seconds to minutes. Who asks the same meanwhile gets the same
    answer, as does who asks within TIDEGATE_REPORT_KEEP (`as_of` says when it was read); who hangs up ends the reading. Two are
    read at a time, TIDEGATE_REPORT_WAITING may be waited for, one more gets 503 and is asked to come again. So give a client
    minutes before it gives up.

    An ID in a path is percent-encoded. Contacts, memberships, sizes and fields come from Redis, as new as a projector has it;
    segments, sequences and reports from Kafka. While one is away, or Redis hasn't got everything yet, what needs it is answered
    with 503, and all else goes on. SIGTERM ends it.

    \b
    Settings that matter here (`tidegate settings` has all):
      TIDEGATE_SECRET_API      a token of at least 32 characters that opens everything
      TIDEGATE_SECRET_API_NAME one that opens less: `SCOPE,SCOPE TOKEN`; without any nothing starts
      TIDEGATE_WEB_PORT        where it answers, as does TIDEGATE_WEB_HOST
      TIDEGATE_REDIS           where a projector has put contacts, memberships and fields
      TIDEGATE_REPORT_KEEP     for how long the same report is given again
      TIDEGATE_REPORT_WAITING  how many different ones are read or waited for

    \b
    Example:
      export TIDEGATE_SECRET_API=$(openssl rand -hex 32)
      TIDEGATE_WEB_PORT=6069 tidegate api &
      curl -H "Authorization: Bearer $TIDEGATE_SECRET_API" http://127.0.0.1:6069/v1/contacts/ada%2F7
      curl -H "Authorization: Bearer $TIDEGATE_SECRET_API" \\
        'http://127.0.0.1:6069/v1/sequences/win-back/report?window=60d&value=Order%20Completed'
    """
    from logging.config import dictConfig

    from streams.api import run_api
    from streams.logs import logging_config

    given = settings()
    dictConfig(logging_config(given))
    run(run_api(given))
