"""The Slack channel: a text to an incoming webhook, whose URL is the secret (api.slack.com/messaging/webhooks).

Slack knows no id of a message: one that is sent again after it was taken stands in the channel twice. The delivery's id
goes along as a header all the same, for whoever stands between.
"""

from collections.abc import Callable, Mapping

import msgspec

from actions.channels import SENT, Resources, Result, Sender, no_secret
from actions.credentials import hook_problem
from actions.message import text_of
from actions.posting import Answer, Poster, result_of
from actions.reach import Reach
from actions.rules import Rule
from actions.unsubscribe import UnsubscribeLinks
from schemas.deliveries import Delivery

# what is longer, Slack cuts
TEXT_CHARACTERS_MAX = 40_000
# the words that Slack answers with: anything else is not quoted, as it could be our own URL
_WORDS_CHARACTERS_MAX = 40


def open_sender(resources: Resources) -> Sender:
    """The channel's sender."""
    return SlackSender(resources.secrets, resources.now_ms, resources.reach, resources.links)


class SlackSender:
    """Posts deliveries. `secrets`: URLs of incoming webhooks by the names that rules give them."""

    def __init__(
        self,
        secrets: Mapping[str, str],
        now_ms: Callable[[], int],
        reach: Reach,
        links: UnsubscribeLinks | None = None,
    ) -> None:
        self._secrets, self._links = secrets, links
        self._poster = Poster(reach, now_ms)

    def lane(self, delivery: Delivery) -> str:
        """The incoming webhook, by its name: Slack counts a message a second for each."""
        return f"slack {delivery.target}"

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        """One POST. 200 is sent; 429 (when `Retry-After` says), 5xx and no answer are for later; all else is final."""
        url = self._secrets.get(rule.secret or "", "")
        if hook_problem(url) is not None:
            return no_secret(rule)
        text = text_of(delivery, rule, self._links, TEXT_CHARACTERS_MAX, "mrkdwn")
        if isinstance(text, Result):
            return text
        body = msgspec.json.encode({"text": text})
        headers = {"content-type": "application/json; charset=utf-8", "x-delivery-id": delivery.id}
        answer = await self._poster.post(url, body, headers, hidden=True)
        if isinstance(answer, Result):
            return answer
        return SENT if answer.sent else result_of(answer, "ok", _word(answer))

    async def close(self) -> None:
        """Closes the connections that are open."""
        await self._poster.close()


def _word(answer: Answer) -> str:
    """What Slack says: `invalid_payload`, `no_service`, `channel_is_archived`, …; "" where it is no such word."""
    said = answer.start.decode("ascii", "replace").strip()
    return said if len(said) <= _WORDS_CHARACTERS_MAX and said.replace("_", "").isalpha() else ""
