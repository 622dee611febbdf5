"""`tidegate api` over real HTTP, with readings that are made up and a Kafka that isn't there."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
import uvicorn

from actions.report import Report
from actions.report_facts import ValueOf
from schemas.definitions import DefinitionRecord
from streams.api_answers import Answers
from streams.api_definitions import DefinitionsInForce
from streams.api_fields import FieldPages
from streams.api_fields import question as field_question
from streams.api_metrics import ApiMetrics
from streams.api_reading import Unreadable, read_apart
from streams.api_tokens import SCOPES, read_tokens
from streams.api_web import Pages, web_app
from streams.broker import CONNECT_TIMEOUT_S
from streams.dispatcher_setup import connect
from streams.dispatcher_web import listen
from streams.errors import StreamsError
from streams.fields_shown import Fields, Question
from streams.fields_store import FieldStore
from streams.lookups import Lookups
from streams.report import Asked
from streams.report_versions import UnknownSequence
from streams.revisions import InForce
from streams.settings import load_settings

TOKEN = "t" * 32
SEGMENTS_TOKEN = "s" * 32
TOKENS = read_tokens(
    {"TIDEGATE_SECRET_API": TOKEN, "TIDEGATE_SECRET_API_BOARD": f"segments:read,memberships:read {SEGMENTS_TOKEN}"}
)
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
WINDOW_MS = 30 * 86_400_000
# of a Redis that isn't there
AWAY = connect(load_settings({"TIDEGATE_REDIS": "redis://127.0.0.1:1/0"}))
NO_FIELDS = FieldStore(AWAY, "t.")


class Kafka:
    """What is asked of it; a sequence `slow` is answered once it is `let`, `ended` has those that were given up."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.ended: list[str] = []
        self.let = asyncio.Event()

    async def read(self, asked: Asked) -> bytes:
        self.asked.append(asked)
        if asked.sequence == "nope":
            raise UnknownSequence("expected the id of a sequence (welcome), got 'nope'")
        if asked.sequence == "away":
            raise Unreadable("expected to be let in by a Kafka broker, was not")
        if asked.sequence == "broken":
            raise RuntimeError("boom")
        if asked.sequence.startswith("slow"):
            try:
                await self.let.wait()
            except asyncio.CancelledError:
                self.ended.append(asked.sequence)
                raise
        return b'{"sequence":"' + asked.sequence.encode() + b'"}'


class Api:
    """One that serves, and what it serves from."""

    def __init__(self) -> None:
        self.kafka, self.metrics = Kafka(), ApiMetrics()
        self.definitions = DefinitionsInForce(load_settings({}))
        self.answers = Answers(self.kafka.read, 60, 2)
        self.app = web_app(
            Pages(self.definitions, self.answers, self.metrics),
            FieldPages(NO_FIELDS),
            Lookups(AWAY, "t."),
            self.definitions,
            TOKENS,
            self.metrics,
        )
        self.client = aiohttp.ClientSession()
        self.url = ""

    async def get(self, path: str, **options: Any) -> tuple[int, Any, Any]:
        """Status, body and headers."""
        async with self.client.get(self.url + path, **{"headers": SHOWN, **options}) as response:
            return (
                response.status,
                await (response.json if "json" in response.content_type else response.text)(
                    **({"content_type": None} if "json" in response.content_type else {})
                ),
                response.headers,
            )


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """One of which the definitions have been read: `welcome` in version 3, where somebody may still be in 2."""
    made = Api()
    record = DefinitionRecord(kind="sequence", id="welcome", version=3, body={}, applied_at_ms=0)
    made.definitions.in_force = InForce(
        7,
        since_ms={("sequence", "welcome"): 0},
        sequences=[record],
        kept=[msgspec.structs.replace(record, version=2)],
    )
    made.definitions.problem = None
    listening = listen("127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(made.app, lifespan="off", log_config=None, log_level="critical", ws="none"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    serving = asyncio.create_task(server.serve([listening]))
    yield made
    await made.client.close()
    await made.answers.close()
    server.should_exit = True
    await serving


async def until(condition: Callable[[], Any], missing: str, timeout_s: float = 10) -> None:
    """Waits until `condition` holds."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110  # no event tells of it
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"within {timeout_s} s: {missing}")


def counted(api: Api) -> set[tuple[str, str]]:
    """Path and status of what was answered."""
    samples = [sample for family in api.metrics.requests.collect() for sample in family.samples]
    return {(sample.labels["path"], sample.labels["status"]) for sample in samples}


async def test_sequences_in_force_are_listed_with_their_versions(api: Api) -> None:
    status, body, headers = await api.get("/v1/sequences")

    expected = {"id": "welcome", "version": 3, "since": "1970-01-01T00:00:00.000Z", "earlier": [2]}
    assert (200, {"revision": 7, "sequences": [expected]}) == (status, body)
    assert "no-store" == headers["Cache-Control"]


async def test_a_report_is_asked_with_the_options_of_the_command(api: Api) -> None:
    parameters = {
        "window": "7d", "version": "2", "since": "2026-01-01", "value": "Order Completed", "property": "price.net"
    }  # fmt: skip
    assert 200 == (await api.get("/v1/sequences/welcome/report", params=parameters))[0]
    status, body, headers = await api.get("/v1/sequences/welcome/report")

    assert (200, {"sequence": "welcome"}) == (status, body)
    value = ValueOf("Order Completed", "price.net")
    assert [
        Asked("welcome", 7 * 86_400_000, 2, 1_767_225_600_000, value),
        Asked("welcome", WINDOW_MS),
    ] == api.kafka.asked
    assert headers["Cache-Control"] in ("private, max-age=60", "private, max-age=59")


async def test_what_can_be_no_id_is_not_looked_for(api: Api) -> None:
    status, body, _ = await api.get(f"/v1/sequences/{'x' * 65}/report")

    assert (400, "expected the id of a sequence, of at most 64 characters, got 65") == (status, body["detail"])
    assert [] == api.kafka.asked


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("window=soon", "expected a duration such as 12h or 60d in `window`, got 'soon'"),
        ("window=", "expected 1 to 200 characters in `window`, got 0"),
        ("version=0", "expected a whole number from 1 in `version`, got '0'"),
        ("version=%D9%A1", "expected a whole number from 1 in `version`"),
        ("since=yesterday", "expected an instant such as 2026-03-01"),
        ("since=2026-01-01T00:00:00+02:00", "(`+` is %2B)"),
        ("property=total", "expected `value` beside `property`, got `property` alone"),
        ("windows=7d", "expected a parameter out of window, version, since, value, property, got 'windows'"),
        ("window=7d&window=8d", "expected `window` once, got it twice"),
        (f"value={'v' * 201}", "expected 1 to 200 characters in `value`, got 201"),
    ],
)
async def test_a_parameter_that_cannot_be_used_says_what_was_expected(api: Api, parameters: str, said: str) -> None:
    status, body, headers = await api.get(f"/v1/sequences/welcome/report?{parameters}")

    assert (400, "application/problem+json", "Bad Request", 400) == (
        status, headers["Content-Type"], body["title"], body["status"]
    )  # fmt: skip
    assert said in body["detail"]
    assert [] == api.kafka.asked


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/sequences/nope/report", 404, "expected the id of a sequence (welcome), got 'nope'"),
        ("/v1/sequences/away/report", 503, "expected to be let in by a Kafka broker"),
        ("/v1/sequences/broken/report", 500, "this is a fault of Tidegate's"),
        ("/v2", 404, "expected a path that /openapi.json has, got '/v2'"),
    ],
)
async def test_failures_are_problem_details_with_a_sentence(api: Api, path: str, status: int, said: str) -> None:
    found, body, headers = await api.get(path)

    assert (status, status, "application/problem+json") == (found, body["status"], headers["Content-Type"])
    assert said in body["detail"] and "boom" not in body["detail"]
    assert ("10" if status == 503 else None) == headers.get("Retry-After")


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer \N{LATIN SMALL LETTER E WITH ACUTE}"]
)  # fmt: skip
async def test_without_the_token_nothing_is_told(api: Api, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/v1/sequences", "/v1/sequences/welcome/report?window=soon"):
        status, body, answered = await api.get(path, headers=headers)
        assert (401, "Bearer") == (status, answered["WWW-Authenticate"])
        assert "expected `Authorization: Bearer`" in body["detail"]
    assert [] == api.kafka.asked


async def test_a_token_opens_what_its_scopes_say_and_else_the_one_that_is_missing_is_named(api: Api) -> None:
    status, body, headers = await api.get("/v1/sequences", headers={"Authorization": f"Bearer {SEGMENTS_TOKEN}"})

    assert (403, "Forbidden") == (status, body["title"])
    said = "expected a token with the scope reports:read, got one with memberships:read, segments:read"
    assert said == body["detail"]
    assert 'Bearer error="insufficient_scope", scope="reports:read"' == headers["WWW-Authenticate"]
    assert 403 == (await api.get("/v1/fields", headers={"Authorization": f"bearer  {SEGMENTS_TOKEN}"}))[0]


def test_fields_are_asked_with_the_options_of_the_command() -> None:
    given = [
        ("event", "Order Completed"),
        ("kind", "property"),
        ("source", "shop"),
        ("conflicts", "true"),
        ("limit", "9"),
    ]

    assert Question("Order Completed", "property", "shop", True, 9) == field_question(given)
    assert Question() == field_question([])


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("kind=traits", "expected trait or property in `kind`, got 'traits'"),
        ("conflicts=yes", "expected true or false in `conflicts`, got 'yes'"),
        ("limit=0", "expected a whole number from 1 in `limit`, got '0'"),
        ("limit=10001", "expected at most 10000 in `limit`, got 10001"),
        ("kind=trait&event=x", "expected one of `event` and `kind=trait`, got both"),
        ("name=plan", "expected a parameter out of event, kind, source, conflicts, limit, got 'name'"),
    ],
)
async def test_a_parameter_of_fields_that_cannot_be_used_says_what_was_expected(
    api: Api, parameters: str, said: str
) -> None:
    status, body, _ = await api.get(f"/v1/fields?{parameters}")

    assert 400 == status
    assert said in body["detail"]


async def test_while_redis_is_away_fields_are_refused_and_all_else_is_answered(api: Api) -> None:
    status, body, headers = await api.get("/v1/fields")

    assert (503, "10") == (status, headers["Retry-After"])
    assert "expected Redis to tell the catalogue of fields, got ConnectionError" in body["detail"]
    assert [200, 200] == [(await api.get(path))[0] for path in ("/v1/sequences", "/readyz")]
    assert 401 == (await api.get("/v1/fields", headers={}))[0]


async def test_while_kafka_is_away_that_is_said_and_the_process_lives(api: Api) -> None:
    api.definitions.problem = "Kafka at x:9092 has not answered for 5 s"

    status, body, headers = await api.get("/v1/sequences")
    assert (503, api.definitions.problem, "10") == (status, body["detail"], headers["Retry-After"])
    assert (503, f"{api.definitions.problem}\n") == (await api.get("/readyz"))[:2]
    assert 200 == (await api.get("/livez"))[0]
    assert "tidegate_api_definitions_unread 1.0" in (await api.get("/metrics"))[1]


async def test_others_are_answered_while_a_report_is_read_and_too_many_are_refused(api: Api) -> None:
    waiting = [asyncio.create_task(api.get(f"/v1/sequences/slow-{n}/report")) for n in (1, 2, 2)]
    await until(lambda: api.answers.under_way == 2, "two reports under way")

    assert 200 == (await api.get("/v1/sequences"))[0]
    status, body, headers = await api.get("/v1/sequences/slow-3/report")
    assert (503, "10") == (status, headers["Retry-After"])
    assert "expected fewer reports to be waited for, got 2 already" in body["detail"]
    assert "tidegate_api_reports_under_way 2.0" in (await api.get("/metrics"))[1]

    api.kafka.let.set()
    assert ["slow-1", "slow-2", "slow-2"] == [body["sequence"] for _, body, _ in await asyncio.gather(*waiting)]
    assert ["slow-1", "slow-2"] == sorted(asked.sequence for asked in api.kafka.asked)


async def test_who_hangs_up_ends_the_reading(api: Api) -> None:
    asking = asyncio.create_task(api.get("/v1/sequences/slow/report"))
    await until(lambda: api.kafka.asked, "the report is being read")
    asking.cancel()

    await until(lambda: api.kafka.ended == ["slow"], "the reading ends")
    await until(lambda: ("/v1/sequences/{id}/report", "499") in counted(api), "it is counted")
    assert 0 == api.answers.under_way


async def test_at_the_end_who_waits_is_told_to_ask_again(api: Api) -> None:
    asking = asyncio.create_task(api.get("/v1/sequences/slow/report"))
    await until(lambda: api.kafka.asked, "the report is being read")
    await api.answers.close()

    status, body, _ = await asking
    assert (503, "this process ends: ask again") == (status, body["detail"])


async def test_requests_are_counted_by_path_and_status(api: Api) -> None:
    await api.get("/v1/sequences/welcome/report")
    await api.get("/v1/sequences/other/report", headers={})
    await api.get("/v1/welcome")
    text = (await api.get("/metrics"))[1]

    path = "/v1/sequences/{id}/report"
    assert f'tidegate_api_requests_total{{path="{path}",status="200"}} 1.0' in text
    assert f'tidegate_api_requests_total{{path="{path}",status="401"}} 1.0' in text
    assert 'tidegate_api_requests_total{path="other",status="404"} 1.0' in text
    assert "welcome" not in text and "process_start_time_seconds" in text


async def test_what_there_is_describes_itself(api: Api) -> None:
    """The parameters and the report's own shape, which `msgspec` knows."""
    _, described, _ = await api.get("/openapi.json", headers={})

    get = described["paths"]["/v1/sequences/{id}/report"]["get"]
    assert ["id", "window", "version", "since", "value", "property"] == [each["name"] for each in get["parameters"]]
    assert {"200", "400", "401", "403", "404", "503"} == get["responses"].keys()
    schemas = described["components"]["schemas"]
    assert set(Report.__struct_fields__) == schemas["Report"]["properties"].keys()
    assert [{"HTTPBearer": ["reports:read"]}] == get["security"]
    get = described["paths"]["/v1/fields"]["get"]
    assert ["event", "kind", "source", "conflicts", "limit"] == [each["name"] for each in get["parameters"]]
    assert set(Fields.__struct_fields__) == schemas["Fields"]["properties"].keys()
    assert 200 == (await api.get("/docs", headers={}))[0]


async def test_every_path_says_which_scope_it_wants_and_how_it_refuses(api: Api) -> None:
    _, described, _ = await api.get("/openapi.json", headers={})

    wanted = set()
    for path, operations in described["paths"].items():
        for operation in operations.values():
            ((scope,),) = (each["HTTPBearer"] for each in operation["security"])
            wanted.add(scope)
            assert {"200", "401", "403", "503"} <= operation["responses"].keys(), path
            assert "422" not in operation["responses"], path
            refused = [each["content"] for status, each in operation["responses"].items() if status != "200"]
            assert all(["application/problem+json"] == list(content) for content in refused), path
    assert SCOPES.keys() == wanted
    assert 11 == len(described["paths"])


def test_an_address_that_is_taken_or_none_names_the_setting() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(StreamsError, match="set TIDEGATE_WEB_PORT"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(StreamsError, match="set TIDEGATE_WEB_HOST"):
        listen("no.such.host.invalid", 0)


async def test_a_report_that_is_read_apart_says_in_a_sentence_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TIDEGATE_BROKER", f"127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(Unreadable, match="expected to be let in by a Kafka broker, was not"):
            await read_apart(Asked("welcome", WINDOW_MS))


async def test_a_fault_of_a_report_that_is_read_apart_is_told_with_what_it_complained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIDEGATE_NO_SUCH", "x")
    with pytest.raises(RuntimeError, match="TIDEGATE_NO_SUCH: no such setting"):
        await read_apart(Asked("welcome", WINDOW_MS))


def test_a_report_that_is_read_apart_ends_with_whoever_waits() -> None:
    """Also where that is killed: here a process that begins one and says its number, of a broker that never answers."""
    code = (
        "import asyncio, streams.api_reading as r, streams.report as p\n"
        "begin = asyncio.create_subprocess_exec\n"
        "async def tell(*args, **options):\n"
        "    process = await begin(*args, **options); print(process.pid, flush=True); return process\n"
        "asyncio.create_subprocess_exec = tell\n"
        f"asyncio.run(r.read_apart(p.Asked('welcome', {WINDOW_MS})))\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        environment = {**os.environ, "TIDEGATE_BROKER": f"127.0.0.1:{silent.getsockname()[1]}"}
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
        ) as waiting:
            assert waiting.stdout is not None
            pid = int(waiting.stdout.readline())
            connection, _ = silent.accept()
            waiting.kill()
        with connection:
            # by itself it would give up after `broker.CONNECT_TIMEOUT_S`
            asyncio.run(until(lambda: _is_gone(pid), "the process that reads ends", CONNECT_TIMEOUT_S / 2))


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # nobody may be there to take note of its end
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"
