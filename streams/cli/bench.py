"""`tidegate bench`: how fast, on this machine."""

import click

from streams.cli.terminal import json_option, settings


@click.group()
def bench() -> None:
    """Measure the worker beside a stock Faust agent, its latency, timers and recovery, and the core alone.

    All but `core` use topics under a prefix of their own on TIDEGATE_BROKER and delete them at the end. Other work on the
    machine shows in the figures; ratios within one run hold best.
    """


@bench.command()
@json_option
def stream(as_json: bool) -> None:
    """Events a second through a stock Faust agent, raw aiokafka, and the worker with 10 and 100 segments, in one run.

    It uses topics under a prefix of its own on TIDEGATE_BROKER, and takes a few minutes.

    \b
    Example:
      TIDEGATE_BROKER=127.0.0.1:9092 tidegate bench stream --json
    """
    from streams.bench_stream import run_stream

    run_stream(settings(), as_json=as_json)


@bench.command()
@click.option(
    "--events",
    type=click.IntRange(1_000, 10_000_000),
    default=100_000,
    show_default=True,
    help="How many events of each load.",
)
@click.option(
    "--full", is_flag=True, help="`simulate` on a million events, too: minutes more, and a gigabyte of memory."
)
@json_option
def core(events: int, full: bool, as_json: bool) -> None:
    """Events a second through the core alone with 10 to 10,000 segments, compiled and in pure Python, with no broker.

    A step is the contact's state decoded, one event applied, the state encoded; reading the event is counted apart. Each
    event touches the same few segments, however many there are. The loads are a month of generated events and, in a
    checkout, the real baskets of a grocer's customers. It takes some minutes, and one core.

    \b
    Example:
      tidegate bench core --json | jq .compiled.loads.generated.ratio
    """
    from streams.bench_builds import run_core

    run_core(events, full=full, as_json=as_json)


@bench.command()
@click.option("--seconds", type=click.IntRange(5, 3_600), default=30, show_default=True, help="How long at each rate.")
@json_option
def latency(seconds: int, as_json: bool) -> None:
    """From an event's sending to its transition being readable, and the worker's CPU, idle and at 1,000 and 5,000 events/s.

    Both ends are in this process: sending stamps the event, a reader of committed records has the transition. The worker has
    100 segments.

    \b
    Example:
      tidegate bench latency --seconds 60
    """
    from streams.bench_latency import run_latency

    run_latency(settings(), seconds, as_json=as_json)


@bench.command()
@click.option("--contacts", type=click.IntRange(1_000, 20_000_000), default=1_000_000, show_default=True)
@json_option
def recover(contacts: int, as_json: bool) -> None:
    """Contacts a second that a starting worker takes over, and the memory they take in it; 20 leaves each.

    \b
    Example:
      tidegate bench recover --contacts 1000000
    """
    from streams.bench_recover import run_recover

    run_recover(settings(), contacts, as_json=as_json)


@bench.command()
@click.option("--contacts", type=click.IntRange(1_000, 20_000_000), default=1_000_000, show_default=True)
@click.option(
    "--rate", type=click.IntRange(0, 100_000), default=5_000, show_default=True, help="Events a second beside them."
)
@click.option("--seconds", type=click.IntRange(5, 3_600), default=60, show_default=True, help="How long, when spread.")
@click.option(
    "--workers", type=click.IntRange(1, 12), default=1, show_default=True, help="Processes that share the partitions."
)
@click.option("--at-once", is_flag=True, help="All at one instant, instead of spread over an hour.")
@json_option
def timers(contacts: int, rate: int, seconds: int, workers: int, at_once: bool, as_json: bool) -> None:
    """How late contacts leave a segment by time alone, spread over an hour or all at once, while events flow.

    \b
    Example:
      tidegate bench timers --at-once --contacts 1000000
    """
    from streams.bench_timers import run_timers

    run_timers(settings(), contacts, rate, seconds, workers, at_once=at_once, as_json=as_json)


@bench.command()
@click.option("--events", type=click.IntRange(10_000, 100_000_000), default=600_000, show_default=True)
@json_option
def scale(events: int, as_json: bool) -> None:
    """CPU that a million events take with one worker and with two, on twelve partitions.

    \b
    Example:
      tidegate bench scale --events 600000
    """
    from streams.bench_scale import run_scale

    run_scale(settings(), events, as_json=as_json)


@bench.command()
@click.option(
    "--messages", type=click.IntRange(100, 10_000_000), default=20_000, show_default=True, help="By each channel."
)
@click.option("--seconds", type=click.IntRange(5, 3_600), default=30, show_default=True, help="How long at each rate.")
@json_option
def deliveries(messages: int, seconds: int, as_json: bool) -> None:
    """Webhooks and e-mails a second of one dispatcher beside a bare client, and how soon after its event one is there.

    Receivers of its own on this machine; Redis is TIDEGATE_REDIS. `CPU ms`: of the process that sends, a message. `twice`:
    messages that reached somebody who had one.

    \b
    Example:
      tidegate bench deliveries --messages 10000
    """
    from streams.bench_deliveries import run_deliveries

    run_deliveries(settings(), messages, seconds, as_json=as_json)


@bench.command()
@click.option("--contacts", type=click.IntRange(100, 10_000_000), default=100_000, show_default=True)
@click.option(
    "--rate",
    "rates",
    type=click.IntRange(0, 100_000),
    multiple=True,
    default=(0, 200),
    show_default=True,
    help="Webhooks a second that a policy allows, 0 for no limit. May be given several times.",
)
@json_option
def due(contacts: int, rates: tuple[int, ...], as_json: bool) -> None:
    """Contacts that wait in a sequence for one hour of the day: how long until all have their webhook, at what memory.

    One worker, one projector, one dispatcher, a receiver on this machine. The hour is the next full minute by which all are
    waiting.

    \b
    Example:
      tidegate bench due --contacts 10000 --rate 0 --rate 500
    """
    from streams.bench_due import run_due

    run_due(settings(), contacts, rates, as_json=as_json)


@bench.command()
@click.option("--seconds", type=click.IntRange(2, 3_600), default=20, show_default=True, help="How long each load.")
@json_option
def gateway(seconds: int, as_json: bool) -> None:
    """Events a second that a gateway takes a core, by batches of 100 and by single calls, beside a server that only parses.

    wrk sends them: install it (Debian: apt-get install wrk). `a core`: events in a second of CPU time of the process; `×`: of the
    gateway to the bare server. Then with a worker, from a call until its transition is readable.

    \b
    Example:
      tidegate bench gateway --seconds 20
    """
    from streams.bench_gateway import run_gateway_bench

    run_gateway_bench(settings(), seconds, as_json=as_json)


@bench.command()
@click.option("--contacts", type=click.IntRange(100, 10_000_000), default=100_000, show_default=True)
@click.option("--rate", type=click.IntRange(1, 10_000), default=500, show_default=True, help="Requests a second.")
@click.option("--seconds", type=click.IntRange(2, 3_600), default=20, show_default=True, help="How long.")
@json_option
def lookups(contacts: int, rate: int, seconds: int, as_json: bool) -> None:
    """How soon an API answers what is known of a contact, beside a server that has its answer ready.

    The contacts are put into TIDEGATE_REDIS under a prefix of its own, and taken out again. `CPU ms`: of the server's process, a
    request; what asks is on this machine as well.

    \b
    Example:
      tidegate bench lookups --rate 500 --seconds 30
    """
    from streams.bench_lookups import run_lookups

    run_lookups(settings(), contacts, rate, seconds, as_json=as_json)
