"""The webhook channel: one signed POST, as the Standard Webhooks specification has it (standardwebhooks.com).

`webhook-id` is the delivery's id, the same in every attempt: the receiver tells repeats by it. Redirects are not
followed, as the signature is for the receiver that the rule names.
"""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec
from standardwebhooks import Webhook

from actions.channels import SENT, Resources, Result, Sender, no_secret
from actions.credentials import signing_problem
from actions.message import payload
from actions.posting import Poster, result_of
from actions.reach import Reach
from actions.rules import Rule
from schemas.deliveries import Delivery
from schemas.instants import EPOCH, MS

USER_AGENT = "Tidegate (webhooks; standardwebhooks.com)"


def open_sender(resources: Resources) -> Sender:
    """The channel's sender."""
    return WebhookSender(resources.secrets, resources.now_ms, resources.reach)


class WebhookSender:
    """Posts deliveries. `secrets`: signing secrets by the names that rules give them."""

    def __init__(self, secrets: Mapping[str, str], now_ms: Callable[[], int], reach: Reach) -> None:
        self._secrets = secrets
        self._now_ms = now_ms
        self._poster = Poster(reach, now_ms)

    def lane(self, delivery: Delivery) -> str:
        """The receiver's host and port."""
        return f"webhook {urlsplit(delivery.target).netloc}"

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        """One POST. 2xx is sent; 5xx, 429, 408, 425, time-outs and broken connections are for later; all else is final."""
        secret = self._secrets.get(rule.secret or "", "")
        if signing_problem(secret) is not None:
            return no_secret(rule)
        body = msgspec.json.encode(payload(delivery))
        answer = await self._poster.post(delivery.target, body, self._headers(delivery, secret, body))
        if isinstance(answer, Result):
            return answer
        return SENT if answer.sent else result_of(answer)

    async def close(self) -> None:
        """Closes the connections that are open."""
        await self._poster.close()

    def _headers(self, delivery: Delivery, secret: str, body: bytes) -> dict[str, str]:
        at = EPOCH + self._now_ms() // 1000 * 1000 * MS
        return {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(delivery.id, at, body.decode()),
        }
