"""A gateway over real HTTP, with a Kafka that is made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import aiohttp
import orjson
import pytest

from schemas.topics import REJECTED
from streams.connections import Connected, Connections
from streams.gateway.intake import Intake, Unavailable
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.record import Record
from streams.gateway.serving import Server, listen
from streams.gateway.tracking_web import TrackingPages
from streams.gateway.web import web_app
from streams.settings import load_settings
from streams.vendors.connection import Connection

KEY, SHOP_KEY = "website-key", "shop-key"
SHOP = "https://shop.example"
NOW_MS = 1_800_000_000_000


class FakeIntake(Intake):
    """Takes whatever comes, once it is `let`; fails with `fails` where there is one."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(load_settings({}), bytes_max)
        self.records: list[Record] = []
        self.let = asyncio.Event()
        self.let.set()
        self.fails: Exception | None = None

    async def take(self, records: Iterable[Record]) -> None:
        """As Kafka would."""
        if self.fails is not None:
            raise self.fails
        await self.let.wait()
        self.records += records

    @property
    def events(self) -> list[dict[str, Any]]:
        """Those that are in the topics of events."""
        return [orjson.loads(record.value) for record in self.records if record.topic != REJECTED.name]

    @property
    def rejected(self) -> list[str]:
        """Reasons."""
        return [dict(r.headers)["reason"].decode() for r in self.records if r.topic == REJECTED.name]


class Gateway:
    """One that serves: `website` takes events from everywhere, `shop` from the pages of one origin."""

    def __init__(self, only_shop: bool = False, connections_max: int = 1000) -> None:
        self.metrics, self.kafka = GatewayMetrics(), FakeIntake(64 << 20)
        connections = (
            Connected(Connection("shop", "tracking", ("B",), origins=(SHOP,)), None, (SHOP_KEY,)),
            Connected(Connection("website", "tracking", ("A",)), None, (KEY, "website-key-before")),
        )
        pages = TrackingPages(
            Connections(connections[: 1 if only_shop else 2]), self.kafka, self.metrics, lambda: NOW_MS
        )
        self.server = Server(web_app([pages.router()], self.metrics), connections_max)
        listening = listen("127.0.0.1", 0)
        self.port = listening.getsockname()[1]
        self.serving = asyncio.create_task(self.server.serve([listening]))
        self.client = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", auto_decompress=False)

    async def post(self, path: str, body: Any = None, key: str | None = KEY, **options: Any) -> tuple[int, Any, Any]:
        """Status, body and headers of the answer; `body` is JSON, or bytes as they come."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {} if key is None else {"Authorization": aiohttp.encode_basic_auth(key, "")}
        headers |= options.pop("headers", {})
        async with self.client.post(path, data=data, headers=headers, **options) as response:
            return response.status, orjson.loads(await response.read() or b"null"), response.headers

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        """A counter's values that are not 0, by its labels."""
        samples = [s for family in getattr(self.metrics, name).collect() for s in family.samples]
        return {tuple(s.labels.values()): s.value for s in samples if s.name.endswith("_total") and s.value}

    async def close(self) -> None:
        """Ends it, with none of the waiting that a server does for those who are connected."""
        await self.client.close()
        self.serving.cancel()
        await asyncio.gather(self.serving, return_exceptions=True)
        for each in self.server.servers:
            each.close()
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Gateway]]:
    """A function that makes a gateway, once the test has changed what it is made of."""
    made: list[Gateway] = []

    def one(**options: Any) -> Gateway:
        made.append(Gateway(**options))
        return made[-1]

    yield one
    for each in made:
        await each.close()


@pytest.fixture
async def gateway(make: Callable[..., Gateway]) -> Gateway:
    """A gateway."""
    return make()


@pytest.fixture
def away() -> Exception:
    """What Kafka is when it is away."""
    return Unavailable("Kafka is away")
