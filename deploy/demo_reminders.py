"""Within the second act: shoppers leave carts, a sequence reminds them twice until they buy, and what it was worth is told."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from rich.console import Console
from stage import Stage, StageError, tidegate

from segments.consent_leaves import drawn

SHOPPERS = 60
# share of the path `reminded` in rules/story.yaml, by the stable hash of `cart.who:contact`
REMINDED = 0.8
FIRST, SECOND = "your cart is still here", "We keep your cart until tonight"
MAILS_S = 40
Send = Callable[[dict[str, Any]], Awaitable[Any]]


class Reminders:
    """Shoppers who are told from one another: reminded or held out, and who of either buys. `send` publishes an event."""

    def __init__(self, stage: Stage, console: Console, settings: dict[str, str], send: Send) -> None:
        self.stage, self.console, self.settings, self._send = stage, console, settings, send
        shoppers = [f"shopper-{n}" for n in range(1, SHOPPERS + 1)]
        self.reminded = [each for each in shoppers if drawn("cart.who", each) < REMINDED * 2**64]
        self.held_out = [each for each in shoppers if each not in self.reminded]
        self.buyers = [*self.reminded[::2], *self.held_out[:2]]

    async def leave_carts(self) -> None:
        """Each puts something into a cart, and goes away."""
        for shopper in (*self.reminded, *self.held_out):
            await self._send({"type": "identify", "userId": shopper, "traits": {"email": f"{shopper}@home.example"}})
            properties = {"product": "cup", "price": 8}
            await self._send({"type": "track", "userId": shopper, "event": "Product Added", "properties": properties})

    async def buy(self) -> None:
        """Some buy once all have their first mail, in mid-wait for the second; `TimeoutError` where one is missing."""
        await self._mails(FIRST, self.reminded)
        for buyer in self.buyers:
            properties = {"order_id": f"o-{buyer}", "total": 8}
            await self._send({"type": "track", "userId": buyer, "event": "Order Completed", "properties": properties})

    async def end(self) -> None:
        """Returns when who has not bought has the second mail; `TimeoutError` where one is missing."""
        await self._mails(SECOND, [each for each in self.reminded if each not in self.buyers])

    def tell(self) -> None:
        """What the sequence did and was worth, as the report says; raises `StageError` where that isn't what came about."""
        command = ("sequences", "report", "cart", "--window", "12s", "--value", "Order Completed")
        report = orjson.loads(tidegate(self.settings, *command, "--json"))["versions"][0]
        self._compare(report["funnel"])
        (held_out,), (reminded,) = (
            [arm for arm in report["splits"][0]["arms"] if arm["holdout"] is which] for which in (True, False)
        )
        say = self.console.print
        say(f"[green]✓[/] what it was worth: `tidegate {shlex.join(command)}`")
        say(
            f"  bought: [bold]{reminded['conversion']:.0%}[/] of {reminded['contacts']} reminded, "
            f"{held_out['conversion']:.0%} of {held_out['contacts']} held out, who got nothing: "
            f"{_points(reminded['conversion_difference'])} points, 95 % between {_span(reminded, 'conversion', _points)}"
        )
        say(
            f"  spent: [bold]{reminded['value_per_contact']:.2f}[/] against {held_out['value_per_contact']:.2f} a contact: "
            f"{_money(reminded['value_difference'])}, 95 % between {_span(reminded, 'value', _money)}"
        )
        say("  where such a span holds 0 it may be chance; who buys is the demo's own choice, here", style="dim")

    def _compare(self, funnel: dict[str, Any]) -> None:
        """Against what was sent and bought: what was killed on the way must not count twice, or be missing."""
        stopped = 1 + len([each for each in self.buyers if each in self.reminded])
        left = 1 + len(self.reminded)
        said = {
            "entered": funnel["entered"],
            "held out": sum(each["count"] for each in funnel["exited"] if each["reason"] == "held_out"),
            "stopped": sum(each["count"] for each in funnel["exited"] if each["reason"] == "goal"),
            "led through": funnel["completed"],
            **{f"{step['name']} mails sent": step["stages"][0]["count"] for step in funnel["steps"]},
        }
        expected = {
            "entered": 1 + SHOPPERS,
            "held out": len(self.held_out),
            "stopped": stopped,
            "led through": left - stopped,
            "first mails sent": left,
            "second mails sent": left - stopped,
        }
        if said != expected:
            raise StageError(f"expected a report of {expected}, got {said}")
        numbers = ", ".join(f"{name} {count}" for name, count in said.items())
        self.console.print(f"[green]✓[/] each counted once by the report, too: {numbers}")

    async def _mails(self, subject: str, shoppers: Sequence[str]) -> None:
        wanted = {f"{shopper}@home.example" for shopper in shoppers}
        for _ in range(10 * MAILS_S):
            if not wanted - self._received(subject):
                return
            await asyncio.sleep(0.1)
        missing = wanted - self._received(subject)
        raise TimeoutError(
            f"expected a mail “{subject}” at each of {len(wanted)} addresses within {MAILS_S} s, but {len(missing)} got "
            f"none, {min(missing, default='nobody')} for one"
        )

    def _received(self, subject: str) -> set[str]:
        mails = [receipt for receipt in self.stage.receipts() if receipt["channel"] == "email"]
        return {mail["to"] for mail in mails if subject in mail["subject"]}


def _span(arm: dict[str, Any], what: str, shown: Callable[[float], str]) -> str:
    between = arm[f"{what}_difference_interval"]
    return f"{shown(between['low'])} and {shown(between['high'])}"


def _points(share: float) -> str:
    return f"{100 * share:+.0f}"


def _money(amount: float) -> str:
    return f"{amount:+.2f}"
