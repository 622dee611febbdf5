"""How a worker ends that can't go on: the first cause in a sentence, and no traceback where the sentence says it all.

Faust's services fail one after another when the first of them has; only that one is of interest.
"""

import asyncio
import logging
from collections.abc import Callable

from aiokafka.errors import KafkaError

from streams.broker import words_of
from streams.errors import StreamsError
from streams.log import FencedError
from streams.security import forbidden
from streams.settings import Settings
from streams.surroundings import look

# how Faust's services say that one has failed, or that it failed again on its way out
_CRASHED = ("Crashed reason=", "Error while stopping child", "We experienced a crash!")
_LOOK_S_MAX = 15.0
_OURS = ("streams", "segments", "actions", "schemas")


def explained(error: BaseException) -> bool:
    """Whether the error's text is enough: what we raise ourselves is a sentence, and Kafka's errors are known."""
    return type(error).__module__.partition(".")[0] in _OURS or isinstance(error, KafkaError)


def lines_of(error: BaseException) -> list[str]:
    """What to say of the error, a line each."""
    if isinstance(error, StreamsError):
        return list(error.lines)
    if isinstance(error, KafkaError):
        return [words_of(error) + forbidden(error)]
    return [str(error) or type(error).__name__]


def causes(error: BaseException, settings: Settings) -> list[str]:
    """Why the worker ends, a line each: what is wrong around it, where something is, as that comes before `error`."""

    async def seen() -> list[str]:
        async with asyncio.timeout(_LOOK_S_MAX):
            return (await look(settings)).all

    own = [*lines_of(error), *_of_name(error, settings)]
    try:
        return asyncio.run(seen()) or own
    except (StreamsError, TimeoutError):
        return own


def _of_name(error: BaseException, settings: Settings) -> list[str]:
    """What fences a worker with a name is most often another one with the same: its checkpoint may hear of it first."""
    if not (isinstance(error, FencedError) and settings.instance):
        return []
    return [
        f"see that no other worker has TIDEGATE_INSTANCE={settings.instance}: each needs a name of its own, or none"
    ]


class Explained(logging.Filter):
    """Leaves tracebacks out where an error is explained, and whatever services say in consequence of the first error."""

    def __init__(self, cause: Callable[[], BaseException | None]) -> None:
        """`cause` tells the first error of the app, None as long as there is none."""
        super().__init__()
        self._cause = cause

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        error = record.exc_info[1] if record.exc_info else None
        follows = self._cause() is not None or isinstance(error, asyncio.CancelledError)
        if follows and any(each in str(record.msg) for each in _CRASHED):
            return False
        if error is not None and explained(error):
            record.msg, record.args, record.exc_info = "\n".join(lines_of(error)), (), None
        return True
