"""The paths of webhooks, over HTTP, with a Kafka that is a list."""

import gzip
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from streams.connections import Connections, connect
from streams.gateway.intake import Crowded, Held, Unavailable
from streams.gateway.fetching import Fetcher
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.record import Record
from streams.gateway.web import web_app
from streams.gateway.webhooks_web import BODY_BYTES_MAX, WebhookPages
from streams.vendors.connection_reading import load_connections
from streams.vendors.registry import vendor_for
from tests.unit.vendors.payloads import NOW_MS

SECRETS = {"TIDEGATE_SECRET_FORM": "of these tests", "TIDEGATE_SECRET_FORM_NEXT": "another of these"}
FORM = "/v1/webhooks/typeform/survey"
CONNECTIONS = load_connections("""
connections:
  - {id: survey, vendor: typeform, secret: [FORM, FORM_NEXT]}
  - {id: closed, vendor: typeform, secret: FORM, origins: ["https://shop.example"]}
""")
TYPEFORM = vendor_for(CONNECTIONS[0])


class Kept:
    """Kafka's place: what was taken, or why not."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.fails: Exception | None = None
        self.bytes = 0

    def held(self) -> Held:
        return Held(self)  # type: ignore[arg-type]

    def reserve(self, count: int) -> None:
        self.bytes += count

    def release(self, count: int) -> None:
        self.bytes -= count

    async def take(self, records: Iterable[Record]) -> None:
        if self.fails is not None:
            raise self.fails
        self.records += records

    def events(self) -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in self.records]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def metrics() -> GatewayMetrics:
    return GatewayMetrics()


@pytest.fixture
async def client(kept: Kept, metrics: GatewayMetrics) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(kept, metrics) as client:
        yield client


@asynccontextmanager
async def _client(kept: Kept, metrics: GatewayMetrics) -> AsyncIterator[httpx.AsyncClient]:
    connected, errors = connect(CONNECTIONS, SECRETS)
    assert errors == []
    pages = WebhookPages(Connections(connected), kept, metrics, Fetcher(), lambda: NOW_MS)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(web_app([pages.router()], metrics), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://gateway.example") as client:
        yield client


def signed(body: bytes, secret: str = SECRETS["TIDEGATE_SECRET_FORM"]) -> dict[str, str]:
    return TYPEFORM.sign(body, secret, FORM, NOW_MS)
