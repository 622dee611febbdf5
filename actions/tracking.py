"""The channel `segment`: calls to any endpoint that takes what Segment's HTTP tracking API takes.

POST `<target>/v1/batch`, Basic authentication with the source's write key and no password. 2xx is sent; the receiver
tells repeats by the calls' `messageId`.
"""

import base64
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from actions.channels import SENT, Resources, Result, Sender, no_secret
from actions.credentials import write_key_problem
from actions.posting import Answer, Poster, result_of
from actions.reach import Reach
from actions.rules import Rule
from actions.tracking_calls import calls_of
from schemas.deliveries import Delivery


def open_sender(resources: Resources) -> Sender:
    """The channel's sender."""
    return TrackingSender(resources.secrets, resources.now_ms, resources.reach)


class TrackingSender:
    """Posts deliveries. `secrets`: write keys by the names that rules give them."""

    def __init__(self, secrets: Mapping[str, str], now_ms: Callable[[], int], reach: Reach) -> None:
        self._secrets = secrets
        self._poster = Poster(reach, now_ms)

    def lane(self, delivery: Delivery) -> str:
        """The receiver's host and port."""
        return f"segment {urlsplit(delivery.target).netloc}"

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        """One POST. 2xx is sent; 429, 5xx, a write key that isn't known and no answer are for later; all else is final."""
        key = self._secrets.get(rule.secret or "", "")
        if write_key_problem(key) is not None:
            return no_secret(rule)
        login = base64.b64encode(f"{key}:".encode()).decode()
        body = msgspec.json.encode({"batch": calls_of(delivery, rule)})
        answer = await self._poster.post(f"{delivery.target.rstrip('/')}/v1/batch", body, _headers(login))
        if isinstance(answer, Result) or answer.sent:
            return answer if isinstance(answer, Result) else SENT
        return _result(answer, (login, key))

    async def close(self) -> None:
        """Closes the connections that are open."""
        await self._poster.close()


def _headers(login: str) -> dict[str, str]:
    return {
        "authorization": f"Basic {login}",
        "content-type": "application/json",
        "user-agent": "Tidegate (segment)",
    }


def _result(answer: Answer, hidden: tuple[str, ...]) -> Result:
    said = answer.start.decode("utf-8", "replace")
    for secret in hidden:
        said = said.replace(secret, "***")
    result = result_of(answer, said=said)
    # the source, not the call: it may be put right
    return Result("not_set_up", result.reason, again=True) if answer.status == 401 else result
