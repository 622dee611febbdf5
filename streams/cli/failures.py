"""Errors as a person at a terminal meets them: a line or a few, and an exit status."""

import errno
from collections.abc import Sequence

from segments.errors import DefinitionErrors
from streams.errors import StreamsError
from streams.settings import SettingError

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


def lines_of(error: Exception) -> list[str]:
    """What to print for `error`, a line each; an error that nobody expected says how to see where it came from."""
    if isinstance(error, StreamsError):
        return list(error.lines)
    own: Sequence[str] | None = getattr(error, "errors", None)
    if own is not None and _is_definition_error(error):
        return list(own)
    if isinstance(error, SettingError):
        return [str(error)]
    if isinstance(error, OSError) and error.filename is not None:
        return [f"{error.filename}: {error.strerror}"]
    if isinstance(error, OSError) and error.errno in _DISK:
        return [f"could not write what came out: {error.strerror}"]
    return [
        f"unexpected {type(error).__name__}: {' '.join(str(error).split()) or 'without a message'}",
        "this is a fault of Tidegate's: `tidegate --traceback COMMAND …` shows where, for a report",
    ]


def status_of(error: Exception) -> int:
    """2 where what was given is at fault, 1 for the rest."""
    if isinstance(error, StreamsError):
        return error.status
    if _is_definition_error(error) or isinstance(error, SettingError | FileNotFoundError | IsADirectoryError):
        return 2
    return 1


def _is_definition_error(error: Exception) -> bool:
    # by its name, so that a command without rules needs nothing of actions/
    return isinstance(error, DefinitionErrors) or type(error).__name__ == "RuleErrors"
