"""A report read by a process of its own: it takes a core for as long as it takes, and memory that is given back at its end.

`read_apart` starts `python -m streams.api_reading`, which is told the question on standard input and answers on standard
output: the report with status 0, or a sentence with another. It ends with whoever waits for it, also where that is killed.
"""

import asyncio
import logging
import os
import sys
import threading
from typing import Final

import msgspec

from streams import loop
from streams.clock import SystemClock
from streams.errors import StreamsError
from streams.report import Asked, json_of, read_report
from streams.report_versions import UnknownSequence
from streams.settings import load_settings

UNREADABLE: Final = 3
UNKNOWN: Final = 4


class Unreadable(StreamsError):
    """Kafka, or what is on it, can't be read as of now; whoever asked asks again later."""


async def read_apart(asked: Asked) -> bytes:
    """The report as JSON. Raises `UnknownSequence`, `Unreadable`; anything else is a fault of ours."""
    process = await asyncio.create_subprocess_exec(
        # not from the directory that this was started in
        *(sys.executable, "-P", "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl-C is for us to hear
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    try:
        process.stdin.write(msgspec.json.encode(asked) + b"\n")
        said, complaint = await asyncio.gather(process.stdout.read(), process.stderr.read())
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _answer(status, said, complaint.decode("utf-8", "replace"))


def _answer(status: int, said: bytes, complaint: str) -> bytes:
    if status == 0:
        return said
    if status == UNKNOWN:
        raise UnknownSequence(said.decode())
    if status == UNREADABLE:
        raise Unreadable(said.decode())
    raise RuntimeError(f"a report ended with status {status}: {complaint.strip() or 'nothing was said'}")


def main() -> int:
    """The other process; its status."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=Asked)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        report = loop.run(read_report(load_settings(), asked, (), SystemClock().now_ms(), lambda _, __: None))
    except StreamsError as error:
        sys.stdout.write(str(error))
        return UNKNOWN if isinstance(error, UnknownSequence) else UNREADABLE
    sys.stdout.buffer.write(json_of(report))
    return 0


def _end_with_parent() -> None:
    # nothing is ever written there again: it is closed when whoever waits is gone, however that came
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
