"""`tidegate worker`: the process that keeps the segments."""

import click


@click.command()
def worker() -> None:
    """Run a worker: events in, transitions, memberships and deliveries out.

    Start as many as you like, up to the number of partitions; they share the work and take over from each other. SIGTERM
    or Ctrl-C stops one cleanly. /metrics, /livez and /readyz are on TIDEGATE_WEB_PORT.

    \b
    Example:
      TIDEGATE_BROKER=127.0.0.1:9092 TIDEGATE_WEB_PORT=0 tidegate worker
    """
    from streams.app import run_worker

    run_worker()
