"""`tidegate bench recover`: how fast a worker takes over the state of many contacts, and the memory that they take.

Where the machine is a virtual one, memory that it has not used since it was started comes from its host, page by page, and
that can take longer than all of the take-over. So as much as the worker takes is used once before it starts; what that
costs at first, and again, is said.
"""

import dataclasses
import json
import mmap
import time
from typing import Any

import click

from streams import loop
from streams.bench_core import one_a_name, resting
from streams.bench_crowd import plan_in_force, write_crowd
from streams.bench_flow import now_ms
from streams.bench_stand import apply, own_settings, say, stand, worker
from streams.settings import Settings

# records that the crowd takes in turns: what differs between contacts is their ids
DIFFERENT = 500
# more than a worker takes (its bound is 2,048)
TOUCHED_BYTES_A_CONTACT = 2_500


@dataclasses.dataclass(frozen=True)
class Recovered:
    """What a take-over took, and what the worker has in memory after it, of what it has without any contact."""

    contacts: int
    record_bytes: float
    took_s: float
    cpu_s: float
    resident_bytes: int
    resident_empty_bytes: int
    page_first_us: float
    page_again_us: float

    @property
    def per_s(self) -> float:
        """Contacts a second."""
        return self.contacts / self.took_s

    @property
    def bytes_a_contact(self) -> float:
        """Memory that one more contact takes."""
        return (self.resident_bytes - self.resident_empty_bytes) / self.contacts


def run_recover(settings: Settings, contacts: int, *, as_json: bool) -> None:
    """Measures and prints. Raises `StreamsError`."""
    found = loop.run(_measure(own_settings(settings, "recover"), contacts))
    shown: dict[str, Any] = dataclasses.asdict(found)
    shown |= {"contacts_per_s": round(found.per_s), "bytes_a_contact": round(found.bytes_a_contact)}
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(f"{found.contacts:,} contacts of {found.record_bytes:,.0f} bytes, 20 leaves each")
    click.echo(f"taken over in {found.took_s:.1f} s: {found.per_s:,.0f} contacts/s, {found.cpu_s:.1f} s of CPU")
    click.echo(
        f"memory {found.resident_bytes / 2**30:.2f} GiB: {found.bytes_a_contact:,.0f} bytes a contact beside "
        f"{found.resident_empty_bytes / 2**20:,.0f} MiB"
    )
    click.echo(
        f"the machine's memory, before: {found.page_first_us:.1f} µs a page of {mmap.PAGESIZE:,} bytes when first used, "
        f"{found.page_again_us:.1f} µs when again"
    )


async def _measure(settings: Settings, contacts: int) -> Recovered:
    async with stand(settings):
        await apply(settings, one_a_name({"count": {"gte": 3}}))
        say("a worker without a contact")
        async with worker(settings) as empty:
            await empty.owns(settings.partitions)
            empty_bytes = empty.resident_bytes()
        plan = await plan_in_force(settings)
        records = [record for _, record in resting(plan.program, DIFFERENT, 3)]
        await write_crowd(settings, plan, contacts, lambda number, _: records[number % DIFFERENT], int(now_ms()))
        touched_bytes = contacts * TOUCHED_BYTES_A_CONTACT
        page_first_us, page_again_us = _touch_us(touched_bytes), _touch_us(touched_bytes)
        say("a worker takes them over")
        async with worker(settings) as measured:
            await measured.owns(settings.partitions)
            metrics = await measured.metrics()
            assert metrics["contacts"] == contacts, metrics["contacts"]
            cpu_s = measured.cpu_s()
            resident_bytes = measured.resident_bytes()
    size = sum(map(len, records)) / len(records)
    return Recovered(
        contacts,
        size,
        metrics["takeover_seconds_sum"],
        cpu_s,
        resident_bytes,
        empty_bytes,
        page_first_us,
        page_again_us,
    )


def _touch_us(size_bytes: int) -> float:
    """Has the machine provide so much memory, and gives it back; returns what a page took, in microseconds."""
    with mmap.mmap(-1, size_bytes) as memory:
        began_s = time.perf_counter()
        for at in range(0, size_bytes, mmap.PAGESIZE):
            memory[at] = 1
        return (time.perf_counter() - began_s) * 1e6 / (size_bytes / mmap.PAGESIZE)
