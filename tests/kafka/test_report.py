"""`tidegate sequences report` on a real broker: what workers led contacts through is reported as of the same run simulated."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from worker_runs import Stage, WorkerProcess, run_command

from actions.dispatch import outcome_of
from schemas.deliveries import Delivery
from schemas.instants import parse_instant
from schemas.topics import DELIVERIES, OUTCOMES, partition_of
from streams import cli
from streams.broker import producer, stored
from streams.cli.terminal import run as run_loop
from streams.clock import SystemClock
from streams.settings import Settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "unit" / "cli"))
from test_sequences_command import ORDERS, SEGMENTS, event_line

pytestmark = pytest.mark.kafka

# in years that have not come: what happened before a sequence was applied begins nothing
UNTIL = "2036-03-01"
VALUE = ("--value", "Order Completed", "--property", "total")
TOKEN = "t" * 32
WaitUntil = Callable[[Callable[[], Any], float, str], Any]


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, make_stage: Callable[..., Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    """With the sequence `welcome` in force; the test's directory, which has `w.yaml` and `e.jsonl`, is the current one.

    The goal is a parameter, by default the segment `paying`.
    """
    goal = getattr(request, "param", "{segment: paying}")
    (tmp_path / "w.yaml").write_text(SEGMENTS.replace("{segment: paying}", goal))
    lines = [
        event_line(contact, "2036-01-01", type="identify", traits={"plan": "trial", "email": "a@b.example"})
        for contact in ("m1", "m2", "m3", "m4", "m6")
    ]
    for contact, (at, total) in ORDERS.items():
        order = {"event": "Order Completed", "messageId": f"{contact}/{at}", "properties": {"total": total}}
        lines += [event_line(contact, at, type="track", **order)] * 2
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    made = make_stage(tmp_path / "w.yaml")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The one version that there is."""
    capsys.readouterr()
    now_ms = parse_instant(UNTIL, offset_required=False)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SystemClock, "now_ms", lambda self: now_ms)
        status = cli.run(["sequences", "report", "welcome", *VALUE, "--json", *arguments])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    (version,) = json.loads(captured.out)["versions"]
    found: dict[str, Any] = version
    return found


def counts(funnel: dict[str, Any]) -> list[dict[str, int]]:
    return [{stage["stage"]: stage["count"] for stage in step["stages"]} for step in funnel["steps"]]


async def dispatch(settings: Settings) -> list[str]:
    """Writes down, twice, that each delivery was sent when it was asked for; their ids in order of contact and step."""
    found: dict[tuple[str, int], Delivery] = {}
    async for record in stored(settings, [settings.topic(DELIVERIES.name)]):
        delivery = msgspec.json.decode(record.value or b"", type=Delivery)
        found[delivery.contact, delivery.step] = delivery
    async with producer(settings) as client:
        for delivery in [*found.values()] * 2:
            at_ms = parse_instant(delivery.created_at, offset_required=True)
            assert at_ms is not None
            await _put(client, settings, delivery, at_ms)
    return [delivery.id for _, delivery in sorted(found.items())]


async def _put(client: AIOKafkaProducer, settings: Settings, delivery: Delivery, at_ms: int) -> None:
    key = delivery.contact.encode()
    value = msgspec.json.encode(outcome_of(delivery, "sent", 1, at_ms))
    await client.send_and_wait(settings.topic(OUTCOMES.name), value, key, partition_of(key, settings.partitions))


@pytest.fixture
def make_api(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], WorkerProcess]]:
    """A function that starts a `tidegate api` with an environment."""
    made: list[WorkerProcess] = []

    def make(environment: dict[str, str]) -> WorkerProcess:
        made.append(WorkerProcess("api", {**environment, "TIDEGATE_SECRET_API": TOKEN}, tmp_path))
        return made[-1].start(("tidegate", "api"))

    yield make
    for api in made:
        print(api.text())
        if api.running():
            api.kill()


def asked(api: WorkerProcess, path: str) -> tuple[int, dict[str, Any]]:
    """Status and body; 0 where nothing listens yet."""
    request = urllib.request.Request(f"http://{api.address()}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}


@pytest.mark.parametrize(
    "stage", ["{segment: paying}", "{when: {event: Order Completed}}"], ids=["named", "in place"], indirect=True
)
def test_the_topics_say_what_the_simulated_run_says(
    stage: Stage, wait_until: WaitUntil, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Events are published twice, outcomes written twice; mail events come by a topic and by a file."""
    simulated = report(capsys, "--from-simulate", "w.yaml", "e.jsonl", "--until", UNTIL)
    assert cli.run(["publish", "e.jsonl", "--until", UNTIL]) == 0
    stage.worker("a")
    wait_until(stage.through, 60, "all events taken")

    found = report(capsys)
    assert [{"sent": 0}, {"sent": 0}] == [{"sent": each["sent"]} for each in counts(found["funnel"])]
    assert [3, 2] == [step["waiting"] for step in found["funnel"]["steps"]]

    ids = run_loop(dispatch(stage.settings))
    assert 5 == len(ids)
    opened = {"type": "track", "event": "Email Opened"}
    (tmp_path / "opened.jsonl").write_text(event_line("m1", "2036-01-02", properties={"delivery_id": ids[0]}, **opened))
    message_id = f"<{ids[1]}@shop.example>"
    (tmp_path / "m.jsonl").write_text(event_line("m3", "2036-01-02", properties={"message_id": message_id}, **opened))
    assert cli.run(["publish", "opened.jsonl", "--until", "2036-03-02"]) == 0
    found = report(capsys, "--file", "m.jsonl")

    expected = [each | {"opened": count} for each, count in zip(counts(simulated["funnel"]), (2, 0), strict=True)]
    assert expected == counts(found["funnel"])
    for same in ("entered", "running", "completed", "converted", "exited"):
        assert simulated["funnel"][same] == found["funnel"][same]
    assert simulated["splits"] == found["splits"]
    assert simulated["not_begun"] == found["not_begun"]
    assert 3 == found["funnel"]["converted"]


def test_a_sequence_that_is_not_there_is_said_with_those_that_are(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["sequences", "report", "nope"]) == 2
    assert "expected the id of a sequence (welcome), got 'nope'" in capsys.readouterr().err


def test_the_report_over_http_is_the_one_of_the_command(
    stage: Stage,
    make_api: Callable[[dict[str, str]], WorkerProcess],
    wait_until: WaitUntil,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """But for when it was made. Of what entries in years to come are worth nothing is known yet, as their windows aren't over."""
    assert cli.run(["publish", "e.jsonl", "--until", UNTIL]) == 0
    stage.worker("a")
    wait_until(stage.through, 60, "all events taken")
    run_loop(dispatch(stage.settings))
    api = make_api(stage.environment)
    wait_until(lambda: asked(api, "/v1/sequences")[0] == 200, 20, "an API that has read the definitions")

    status, listed = asked(api, "/v1/sequences")
    assert (200, [("welcome", 1, [])]) == (
        status, [(each["id"], each["version"], each["earlier"]) for each in listed["sequences"]]
    )  # fmt: skip
    since = "2035-12-01T00:00:00Z"
    for parameters, options in (
        (f"?value=Order%20Completed&property=total&since={since}", (*VALUE, "--since", since)),
        ("?window=7d&version=1", ("--window", "7d", "--version", "1")),
        ("?version=9", ("--version", "9")),
    ):
        capsys.readouterr()
        assert cli.run(["sequences", "report", "welcome", "--json", *options]) == 0
        expected = json.loads(capsys.readouterr().out)
        status, found = asked(api, f"/v1/sequences/welcome/report{parameters}")
        assert (200, {**expected, "as_of": None}) == (status, {**found, "as_of": None})
    assert 5 == asked(api, "/v1/sequences/welcome/report?window=7d&version=1")[1]["versions"][0]["funnel"]["entered"]

    status, problem = asked(api, "/v1/sequences/nope/report")
    assert (404, True) == (status, "expected the id of a sequence (welcome), got 'nope'" in problem["detail"])
    began_s = time.monotonic()
    assert 0 == api.stop()
    assert time.monotonic() - began_s < 5


def test_an_api_begins_without_a_broker_and_goes_on_when_it_is_there(
    make_stage: Callable[..., Stage],
    make_api: Callable[[dict[str, str]], WorkerProcess],
    services_module: Any,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    with services_module.Kafka(tmp_path / "kafka") as kafka:
        (tmp_path / "w.yaml").write_text(SEGMENTS)
        stage = make_stage(tmp_path / "w.yaml", on=kafka.address)
        kafka.kill()
        api = make_api(stage.environment)
        wait_until(lambda: asked(api, "/v1/sequences")[0] == 503, 20, "an API that says that there is no broker")
        assert "was not" in asked(api, "/v1/sequences")[1]["detail"]
        status, problem = asked(api, "/v1/sequences/welcome/report")
        assert (503, True) == (status, "expected to be let in by a Kafka broker" in problem["detail"])

        kafka.start()
        wait_until(lambda: asked(api, "/v1/sequences")[0] == 200, 30, "the definitions are read")
        assert (200, []) == (lambda status, body: (status, body["versions"]))(
            *asked(api, "/v1/sequences/welcome/report")
        )
        (tmp_path / "w.yaml").write_text(SEGMENTS.replace("wait: 2d", "wait: 3d"))
        run_command(stage.environment, "segments", "apply", str(tmp_path / "w.yaml"))
        wait_until(lambda: asked(api, "/v1/sequences")[1]["sequences"][0]["version"] == 2, 10, "the new version")

        kafka.kill()
        wait_until(lambda: asked(api, "/v1/sequences")[0] == 503, 30, "it says that the broker is away")
        assert 0 == api.stop()
        stage.close()
