"""What the worker's web port answers: `/metrics`, `/livez`, `/readyz`, by way of Faust's web server."""

import socket
from typing import Any

import orjson

from streams.settings import Settings
from streams.showing import show

# reading goes on all the time, if only to see that there is nothing; this long without it and something hangs
SILENT_S_MAX = 60.0
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
        silent_s = app.worker.silent_ms / 1000
        live = app.rebalancing or silent_s < SILENT_S_MAX
        return _answer(view, live, {"silent_s": round(silent_s, 3), "rebalancing": bool(app.rebalancing)})

    @app.page("/readyz", name="readyz")  # type: ignore[untyped-decorator]
    async def readyz(view: Any, request: Any) -> Any:
        owned = sorted(app.worker.partitions)
        unanswered_s = app.worker.unanswered_ms / 1000
        ready = bool(owned) and app.tables.actives_ready and not app.rebalancing and unanswered_s < UNANSWERED_S_MAX
        shown = {"partitions": owned, "rebalancing": bool(app.rebalancing), "unanswered_s": round(unanswered_s, 3)}
        return _answer(view, ready, shown)


def web_port(settings: Settings) -> int:
    """The port to listen on: the one that is set, or one that is free now where that is 0."""
    if settings.web_port:
        return settings.web_port
    with socket.socket() as probe:
        probe.bind((settings.web_host, 0))
        return int(probe.getsockname()[1])


def _answer(view: Any, well: bool, shown: dict[str, Any]) -> Any:
    body = orjson.dumps({"ok": well, **shown})
    return view.bytes(body, content_type="application/json", status=200 if well else 503)
