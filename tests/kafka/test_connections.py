"""A signed sample of each vendor, through `tidegate connections test`, a gateway and a real broker."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gateway_runs import GatewayRun
from worker_runs import run_command

from streams.vendors.registry import MODULES

pytestmark = pytest.mark.kafka

TIMEOUT_S = 30
LOGIN, TEXT = "user:password", "a-secret-of-this-connection"
SECRETS = dict.fromkeys(MODULES, TEXT) | {
    **dict.fromkeys(("chargebee", "postmark", "mailjet", "brevo", "sparkpost", "pipedrive"), LOGIN),
    "form": "a-key-for-all-to-see",
    "stripe": "whsec_a-secret-of-this-connection",
    "resend": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "sendgrid": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglS"
    "I8eNEc6wEA3F+g==",
    "ses": "arn:aws:sns:eu-west-1:123456789012:mail",
}
# only they have the private key
UNSIGNABLE = ("sendgrid", "ses")
OWN: dict[str, dict[str, Any]] = {
    "generic": {"signature": {"header": "X-Sign"}, "names": {"email": "$.email"}},
    "form": {"redirect": "https://shop.example/thanks"},
}
CONNECTIONS = [{"id": vendor, "vendor": vendor, "secret": vendor.upper(), **OWN.get(vendor, {})} for vendor in MODULES]


@pytest.fixture
def gateway(broker: str, prefix: str, tmp_path: Path) -> Iterator[GatewayRun]:
    """One with a connection of each vendor."""
    secrets = {f"secret_{vendor}": secret for vendor, secret in SECRETS.items()}
    made = GatewayRun(broker, prefix, tmp_path, yaml.safe_dump({"connections": CONNECTIONS}), **secrets)
    yield made
    made.close()


async def test_a_signed_sample_of_every_vendor_is_taken_and_is_in_kafka(
    gateway: GatewayRun, wait_for: Callable[..., Awaitable[Any]]
) -> None:
    """As the vendor would send it; the command fails where the gateway doesn't take it."""
    gateway.make_topics()
    gateway.start()
    await wait_for(gateway.ready, TIMEOUT_S, "a gateway that takes events")
    assert gateway.url is not None

    for vendor in MODULES:
        if vendor not in UNSIGNABLE:
            run_command(gateway.environment, "connections", "test", vendor, "--url", gateway.url)

    sources = {event["context"]["source"] for _, _, event in gateway.events()}
    assert sources == set(MODULES) - set(UNSIGNABLE)
    assert gateway.rejected() == []


async def test_a_form_that_a_browser_posts_in_parts_is_taken(
    gateway: GatewayRun, wait_for: Callable[..., Awaitable[Any]]
) -> None:
    """With a boundary of its own, and a file field in which nothing was chosen; one with a file is kept in `rejected`."""
    gateway.make_topics()
    gateway.start()
    await wait_for(gateway.ready, TIMEOUT_S, "a gateway that takes events")

    def post(*, file: bytes) -> int:
        boundary, name = b"----WebKitFormBoundaryAbC", b"cv.pdf" if file else b""
        part = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="'
        body = (
            part + b'email"\r\n\r\nada@example.com\r\n' + part + b'_key"\r\n\r\n' + SECRETS["form"].encode() + b"\r\n"
            + part + b'cv"; filename="' + name + b'"\r\nContent-Type: application/pdf\r\n\r\n' + file + b"\r\n"
            + b"--" + boundary + b"--\r\n"
        )  # fmt: skip
        headers = {"Content-Type": "multipart/form-data; boundary=" + boundary.decode(), "Origin": "null"}
        asked = urllib.request.Request(f"{gateway.url}/v1/webhooks/form/form", body, headers)
        try:
            with urllib.request.build_opener(Unfollowed).open(asked, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert post(file=b"") == 303
    assert [event.get("event") for _, _, event in gateway.events()] == [None, "Form Submitted"]
    assert post(file=b"%PDF") == 303
    assert [dict(record.headers)["reason"] for record in gateway.rejected()] == [b"not_supported"]


class Unfollowed(urllib.request.HTTPRedirectHandler):
    """Goes nowhere: the answer itself is looked at."""

    def redirect_request(self, *args: Any, **more: Any) -> None:
        """None: no other page is asked for."""
