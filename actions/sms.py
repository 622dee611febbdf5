"""The SMS channel: the small part of Twilio's API that sends a message, which others have copied.

POST `<TIDEGATE_SMS_URL>/2010-04-01/Accounts/<sid>/Messages.json`, Basic authentication with sid and token, a form with
`To`, `Body` and `From` (or `MessagingServiceSid`). 201 with a JSON object that has `sid` is sent. An error is a JSON object
with `code` and `message`. The API knows no id of ours: a message that is sent again after it was taken arrives twice.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from actions.channels import SENT, Resources, Result, Sender, no_secret
from actions.credentials import login_problem
from actions.message import text_of
from actions.posting import Answer, Poster, result_of
from actions.reach import Reach
from actions.rules import Rule
from actions.unsubscribe import UnsubscribeLinks
from schemas.deliveries import Delivery

BODY_CHARACTERS_MAX = 1600
# too many requests, and a sender whose queue is full: the same message is taken later, whatever the status
_AGAIN: Final = frozenset((20429, 21611))
# a login that fails, and an account that is not active: no word about the message, and may be put right
_NOT_SET_UP: Final = frozenset((20003, 20005))
# the receiver has answered STOP to this sender
_OPTED_OUT: Final = 21610


class _Said(msgspec.Struct):
    """The JSON that comes back: `sid` of a message that was taken, else `code` and `message`."""

    sid: str | None = None
    code: int | None = None
    message: str | None = None


def open_sender(resources: Resources) -> Sender:
    """The channel's sender."""
    return SmsSender(resources.sms_url, resources.secrets, resources.now_ms, resources.reach, resources.links)


class SmsSender:
    """Sends deliveries through the API at `url`. `secrets`: `sid:token` by the names that rules give them."""

    def __init__(
        self,
        url: str,
        secrets: Mapping[str, str],
        now_ms: Callable[[], int],
        reach: Reach,
        links: UnsubscribeLinks | None = None,
    ) -> None:
        self._url, self._secrets, self._links = url.rstrip("/"), secrets, links
        self._poster = Poster(reach, now_ms)

    def lane(self, delivery: Delivery) -> str:
        """All messages go to one provider."""
        return f"sms {urlsplit(self._url).netloc}"

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        """One POST. 201 is sent; 429, 5xx, a login that fails and no answer are for later; all else is final."""
        login = self._secrets.get(rule.secret or "", "")
        if login_problem(login) is not None:
            return no_secret(rule)
        assert rule.sender is not None
        text = text_of(delivery, rule, self._links, BODY_CHARACTERS_MAX)
        if isinstance(text, Result):
            return text
        sid, _, token = login.partition(":")
        form = {"To": delivery.target, _sender_key(rule.sender): rule.sender, "Body": text}
        answer = await self._poster.post(
            f"{self._url}/2010-04-01/Accounts/{sid}/Messages.json",
            urlencode(form).encode(),
            _headers(login),
            hidden=True,
            whole=True,
        )
        return answer if isinstance(answer, Result) else _result(answer, (sid, token, _basic(login)))

    async def close(self) -> None:
        """Closes the connections that are open."""
        await self._poster.close()


def _sender_key(sender: str) -> str:
    return "MessagingServiceSid" if sender.startswith("MG") and len(sender) == 34 else "From"


def _basic(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


def _headers(login: str) -> dict[str, str]:
    return {
        "authorization": f"Basic {_basic(login)}",
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
        "user-agent": "Tidegate (sms)",
    }


def _result(answer: Answer, hidden: tuple[str, ...]) -> Result:
    said = _said(answer)
    if answer.sent and said.sid:
        return SENT
    words = " ".join(part for part in (f"error {said.code}" if said.code else "", said.message or "") if part)
    for secret in hidden:
        words = words.replace(secret, "***")
    if answer.sent:
        # nobody knows whether it was taken: sent again, it might arrive over and over
        return Result("refused", f"expected 201 with a `sid`, got {answer.status} without one")
    result = result_of(answer, "201 with a `sid`", words)
    if said.code in _AGAIN:
        return Result("retry", result.reason, again=True, retry_after_ms=answer.retry_after_ms)
    if said.code in _NOT_SET_UP or answer.status == 401:
        return Result("not_set_up", result.reason, again=True)
    return Result("opted_out", result.reason) if said.code == _OPTED_OUT else result


def _said(answer: Answer) -> _Said:
    try:
        return msgspec.json.decode(answer.start, type=_Said)
    except (msgspec.DecodeError, RecursionError):
        return _Said()
