"""What the worker's web port answers: `/metrics`, `/livez`, `/readyz`, by way of Faust's web server.

As Kubernetes means the two: who isn't live is to be started again, who isn't ready is to be left as it is. Live is a
worker whose loop answers and in which nothing has stalled for TIDEGATE_STALL_EXIT; a broker that is away is no reason to
start a worker again. Ready is one that has its share of the group and the state of it, and hears from the broker; the
share is none where there are more workers than partitions. Both say why not.
"""

import socket
from typing import Any

import orjson

from streams.settings import Settings
from streams.showing import show
from streams.worker import Worker

# the broker answers several times a second, if only that there is nothing; this long without it and it is away
UNANSWERED_S_MAX = 10.0


def add_pages(app: Any) -> None:
    """Adds them to the Faust app, which has `worker` and `metrics`."""

    @app.page("/metrics", name="metrics")  # type: ignore[untyped-decorator]
    async def metrics(view: Any, request: Any) -> Any:
        show(app.worker)
        return view.bytes(app.worker.metrics.text(), content_type="text/plain; version=0.0.4")

    @app.page("/livez", name="livez")  # type: ignore[untyped-decorator]
    async def livez(view: Any, request: Any) -> Any:
        dead = app.guard.watchdog.dead
        return _answer(view, [] if dead is None else [f"stalled: {dead.problem}"])

    @app.page("/readyz", name="readyz")  # type: ignore[untyped-decorator]
    async def readyz(view: Any, request: Any) -> Any:
        partitions = app.worker.partitions
        stopped = sorted(number for number, partition in partitions.items() if partition.stopped)
        spare = app.worker.assigned and not partitions
        return _answer(view, not_ready(app), partitions=sorted(partitions), stopped=stopped, spare=spare)


def not_ready(app: Any) -> list[str]:
    """Why this worker doesn't do all that it is there for; empty when it does."""
    worker: Worker = app.worker
    why = []
    if worker.recovering:
        why.append("its state is being read")
    elif not worker.assigned:
        why.append("the group has not given it its share")
    elif app.rebalancing or not app.tables.actives_ready:
        why.append("the group is sharing out anew")
    if worker.memory.full:
        why.append("its contacts take more memory than TIDEGATE_MEMORY_BYTES: it reads no more events")
    if worker.partitions and worker.unanswered_ms / 1000 > UNANSWERED_S_MAX:
        why.append(f"the broker has not answered for {worker.unanswered_ms / 1000:.0f} s")
    return why


def web_port(settings: Settings) -> int:
    """The port to listen on: the one that is set, or one that is free now where that is 0."""
    if settings.web_port:
        return settings.web_port
    with socket.socket() as probe:
        probe.bind((settings.web_host, 0))
        return int(probe.getsockname()[1])


def _answer(view: Any, why: list[str], **shown: Any) -> Any:
    body = orjson.dumps({"ok": not why, "why": why, **shown})
    return view.bytes(body, content_type="application/json", status=503 if why else 200)
