"""The paths of `tidegate api`.

Whoever asks shows a token (`api_tokens.py`); what describes the paths, and what metrics and health say, is open.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from actions.report import Report
from schemas.instants import format_instant
from streams.api_answers import Answers, Crowded, Ending
from streams.api_contacts import ContactPages, Memberships
from streams.api_definitions import DefinitionsInForce
from streams.api_export import Exports
from streams.api_fields import PARAMETERS as FIELD_PARAMETERS
from streams.api_fields import SCHEMAS as FIELD_SCHEMAS
from streams.api_fields import FieldPages
from streams.api_metrics import ApiMetrics
from streams.api_paths import Paths, as_it_came, describe, described, in_path, in_query, path_text
from streams.api_problems import Problem, add_problems, responses, unavailable
from streams.api_questions import PARAMETERS, SCHEMAS, question
from streams.api_reading import Unreadable
from streams.api_segments import SegmentPages, Segments, SegmentShown, Size
from streams.api_tokens import FIELDS_READ, REPORTS_READ, Tokens
from streams.counted import GONE, OTHER, Counted
from streams.fields_shown import Fields
from streams.lookups import Contact, Lookups, Members
from streams.report import Asked
from streams.report_versions import UnknownSequence

T = TypeVar("T")


class _Gone(Exception):
    """Who asked has hung up."""


class SequenceShown(msgspec.Struct, frozen=True):
    """A sequence in force, in `version` since an instant; `earlier`: versions that contacts may still be in."""

    id: str
    version: int
    since: str
    earlier: list[int]


class Sequences(msgspec.Struct, frozen=True):
    """All sequences in force with a revision of the definitions."""

    revision: int
    sequences: list[SequenceShown]


class Pages:
    """The handlers."""

    def __init__(self, definitions: DefinitionsInForce, answers: Answers[Asked], metrics: ApiMetrics) -> None:
        self._definitions, self._answers, self._metrics = definitions, answers, metrics
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    async def sequences(self, request: Request) -> Response:
        """The sequences in force, by id."""
        if self._definitions.problem is not None:
            raise unavailable(self._definitions.problem)
        in_force = self._definitions.in_force
        shown = [
            SequenceShown(
                record.id,
                record.version,
                format_instant(in_force.since_ms["sequence", record.id]),
                sorted(each.version for each in in_force.kept if each.id == record.id),
            )
            for record in sorted(in_force.sequences, key=lambda record: record.id)
        ]
        return _json(msgspec.json.encode(Sequences(in_force.number, shown)), 0)

    async def report(self, request: Request) -> Response:
        """What a sequence was worth, as `tidegate sequences report ID --json` says it.

        By version and path of each split: entries, messages, conversions, and what contacts were worth against those held
        out. It is read from the topics, which takes seconds to minutes; who asks the same meanwhile, or shortly after,
        gets the same answer (`as_of`). Who hangs up ends the reading.
        """
        try:
            asked = question(path_text(request, "id"), request.query_params.multi_items())
        except ValueError as error:
            raise Problem(400, str(error)) from None
        try:
            answer = await _unless_gone(request, self._answers.of(asked))
        except UnknownSequence as error:
            raise Problem(404, str(error)) from None
        except Unreadable as error:
            raise unavailable(str(error)) from None
        except Crowded:
            count = self._answers.under_way
            raise unavailable(
                f"expected fewer reports to be waited for, got {count} already: ask again later"
            ) from None
        except Ending:
            raise unavailable("this process ends: ask again") from None
        except _Gone:
            return Response(status_code=GONE)
        return _json(answer.body, int(self._answers.fresh_s(answer)))

    async def metrics(self) -> Response:
        """For Prometheus."""
        self._metrics.under_way.set(self._answers.under_way)
        self._metrics.unread.set(self._definitions.problem is not None)
        text = generate_latest(self._process) + generate_latest(self._metrics.registry)
        return Response(text, media_type="text/plain; version=0.0.4")

    async def livez(self) -> Response:
        """That the loop answers; Kafka being away is no reason to start this again."""
        return Response("ok\n", media_type="text/plain")

    async def readyz(self) -> Response:
        """Whether what is asked can be answered, and why not."""
        problem = self._definitions.problem
        return Response(f"{problem or 'ok'}\n", 503 if problem else 200, media_type="text/plain")


def web_app(
    pages: Pages,
    fields: FieldPages,
    lookups: Lookups,
    definitions: DefinitionsInForce,
    tokens: Tokens,
    metrics: ApiMetrics,
) -> ASGIApp:
    """All of it, counted."""
    app = FastAPI(title="Tidegate", description="What Tidegate knows, to be asked.", version="1", redoc_url=None)
    add_problems(app)
    paths = Paths(tokens)
    paths.add("/sequences", pages.sequences, REPORTS_READ, described(Sequences) | responses(503))
    paths.add(
        "/sequences/{id}/report",
        pages.report,
        REPORTS_READ,
        described(Report) | responses(400, 404, 503),
        [in_path("id", "the sequence's id", "win-back"), *in_query(PARAMETERS, SCHEMAS)],
    )
    paths.add(
        "/fields",
        fields.fields,
        FIELDS_READ,
        described(Fields) | responses(400, 503),
        in_query(FIELD_PARAMETERS, FIELD_SCHEMAS),
    )
    ContactPages(lookups, definitions).add_to(paths)
    SegmentPages(lookups, definitions).add_to(paths)
    Exports(lookups, definitions, metrics).add_to(paths)
    app.include_router(paths.router)
    for name in ("metrics", "livez", "readyz"):
        app.add_api_route(f"/{name}", getattr(pages, name), methods=["GET"], include_in_schema=False)
    describe(app, (Report, Sequences, Fields, Contact, Memberships, Segments, SegmentShown, Size, Members))

    async def matched_as_it_came(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            as_it_came(scope)
        await app(scope, receive, send)

    return Counted(matched_as_it_came, metrics.requests, metrics.seconds, lambda path: path.startswith(("/v1/", OTHER)))


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What `work` returns; it is cancelled when whoever asked hangs up."""
    working, gone = asyncio.ensure_future(work), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise _Gone
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(body: bytes, fresh_s: int) -> Response:
    kept = f"private, max-age={fresh_s}" if fresh_s else "no-store"
    return Response(body, headers={"Cache-Control": kept}, media_type="application/json")
