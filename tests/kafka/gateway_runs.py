"""Gateways on a real broker, for tests: processes, senders that keep book of what was acknowledged, and what is in the topics."""

from __future__ import annotations

import asyncio
import contextlib
import re
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from told import Committed, committed
from worker_runs import WorkerProcess, environment_of, run_command

from schemas.topics import REJECTED, SOURCES, partition_of
from streams.settings import Settings, load_settings

KEY = "website-key"
CONNECTIONS = "connections: [{id: website, vendor: tracking, secret: WEBSITE_KEY}]\n"


class GatewayRun:
    """A `tidegate gateway` of its own process, and its topics; `connections` is the text of their file."""

    def __init__(
        self, broker: str, prefix: str, directory: Path, connections: str = CONNECTIONS, **changes: str
    ) -> None:
        path = directory / "connections.yaml"
        path.write_text(connections)
        given = {"clock": "wall", "gateway_port": "0", "connections": str(path), "secret_website_key": KEY} | changes
        self.environment = environment_of(broker, prefix, **given)
        self.settings: Settings = load_settings(self.environment)
        self.process = WorkerProcess("gateway", self.environment, directory)

    def make_topics(self) -> None:
        """All of ours."""
        run_command(self.environment, "topics", "create")

    def start(self) -> None:
        """Starts it, or starts it again."""
        self.process.start(("tidegate", "gateway"))

    def close(self) -> None:
        """Ends it, however it is."""
        if self.process.running():
            self.process.kill()

    @property
    def url(self) -> str | None:
        """Where it takes events, once its log says so."""
        return self._said(r"taking events on (http://\S+)")

    @property
    def address(self) -> str | None:
        """Host and port of its metrics and health."""
        return self._said(r"metrics and health on http://([^/]+)")

    def readiness(self) -> tuple[int, str]:
        """Status and text of `/readyz`; 0 where nobody answers."""
        return self._get("/readyz")

    def ready(self) -> bool:
        """Whether it takes events."""
        return self.url is not None and self.readiness()[0] == 200

    def post_once(self, path: str, body: Any) -> Any:
        """The answer to a call with the write key."""
        headers = {"Authorization": aiohttp.encode_basic_auth(KEY, "")}
        asked = urllib.request.Request(f"{self.url}{path}", orjson.dumps(body), headers)
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return orjson.loads(answer.read())

    def metric(self, start: str) -> float:
        """The sum of the samples that begin so."""
        lines = self._get("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))

    def events(self) -> list[tuple[str, Committed, dict[str, Any]]]:
        """Everything in the source topics: topic, record and event."""
        return [
            (topic.name, record, orjson.loads(record.value or b""))
            for topic in SOURCES
            for record in committed(self.settings, topic.name)
        ]

    def rejected(self) -> list[Committed]:
        """Everything in `rejected`."""
        return committed(self.settings, REJECTED.name)

    def partition(self, contact: str) -> int:
        """Where the contact's events go."""
        return partition_of(contact.encode(), self.settings.partitions)

    def _get(self, path: str) -> tuple[int, str]:
        if self.address is None:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def _said(self, pattern: str) -> str | None:
        said = "" if self.process.child is None else self.process.child.output()
        found = re.findall(pattern, said)
        return found[-1] if found else None


class Senders:
    """SDKs at work: `count` of them send batches of `events` until `stop`, each again with the same ids until it is answered 200.

    `acknowledged`: ids of what was answered with 200; `answers`: how often there was which status, 0 for none.
    """

    def __init__(self, run: GatewayRun, count: int = 4, events: int = 50) -> None:
        self._run, self._count, self._events = run, count, events
        self.acknowledged: list[str] = []
        self.sent: set[str] = set()
        self.answers: Counter[int] = Counter()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Senders:
        self._client = aiohttp.ClientSession(headers={"Authorization": aiohttp.encode_basic_auth(KEY, "")})
        self._tasks = [asyncio.create_task(self._send(number)) for number in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    async def stop(self) -> None:
        """Ends after the batches that are on their way; raises what a sender failed with."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _send(self, number: int) -> None:
        turn = 0
        while not self._stopping:
            turn += 1
            ids = [f"s{number}-{turn}-{n}" for n in range(self._events)]
            batch = [
                {
                    "type": "track",
                    "event": "Moved",
                    "userId": f"c-{n % 20}",
                    "messageId": id,
                    "properties": {"turn": turn},
                }
                for n, id in enumerate(ids)
            ]
            self.sent.update(ids)
            while await self._post({"batch": batch}) != 200:
                if self._stopping:
                    return
                await asyncio.sleep(0.05)
            self.acknowledged += ids

    async def _post(self, body: Any) -> int:
        status = 0
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with self._client.post(f"{self._run.url}/v1/batch", data=orjson.dumps(body)) as answer:
                await answer.read()
                status = answer.status
        self.answers[status] += 1
        return status
