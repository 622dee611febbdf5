"""The channels there are. A new one is a module with `open_sender`, a line here, and its name in `schemas.deliveries`.

The line says what a rule may say of the channel; the module, which only a dispatcher loads, is the channel itself.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from actions.credentials import hook_problem, login_problem, signing_problem, write_key_problem
from actions.targets import ADDRESS, ENDPOINT, PHONE, TOPIC, URL, Target
from schemas.deliveries import Channel

if TYPE_CHECKING:
    from actions.channels import Resources, Sender


@dataclass(frozen=True)
class ChannelSpec:
    """What a rule may say of a channel.

    `module` has `open_sender(resources) -> Sender`. `target` None: the rule names none. `parts`: those that a template
    must have, `more_parts`: may have. `secret_problem`: the rule names a secret, and this says what it should have been.
    `tells_repeats`: who gets a message twice knows it by its id, and need not see it twice.
    """

    name: Channel
    module: str
    target: Target | None
    parts: tuple[str, ...] = ()
    more_parts: tuple[str, ...] = ()
    secret_problem: Callable[[str], str | None] | None = None
    keys: tuple[str, ...] = ()
    tells_repeats: bool = False

    @property
    def all_keys(self) -> tuple[str, ...]:
        """Keys that a message of this channel has beside those of every message."""
        asked = (("target", self.target), ("secret", self.secret_problem), ("template", self.parts))
        return (*(key for key, there in asked if there), *self.keys)


_SPECS: Final = (
    ChannelSpec("webhook", "actions.webhook", URL, secret_problem=signing_problem, tells_repeats=True),
    ChannelSpec("email", "actions.mail", ADDRESS, ("subject", "text"), ("html",)),
    ChannelSpec("slack", "actions.slack", None, ("text",), secret_problem=hook_problem),
    ChannelSpec("sms", "actions.sms", PHONE, ("text",), secret_problem=login_problem, keys=("from",)),
    ChannelSpec("inapp", "actions.inapp", None, ("text",), ("subject",), tells_repeats=True),
    ChannelSpec("kafka", "actions.kafka", TOPIC, tells_repeats=True),
    ChannelSpec(
        "segment",
        "actions.tracking",
        ENDPOINT,
        secret_problem=write_key_problem,
        keys=("event", "identify"),
        tells_repeats=True,
    ),
)
SPECS: Final = {spec.name: spec for spec in _SPECS}


def open_senders(resources: "Resources") -> "dict[str, Sender]":
    """The senders of all channels, by the channel's name."""
    return {spec.name: importlib.import_module(spec.module).open_sender(resources) for spec in _SPECS}
