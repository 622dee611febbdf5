"""How log lines look, and how many of them Kafka's client may write."""

import json
import logging
import time
from typing import Any

from streams.settings import Settings

# aiokafka writes up to thousands of lines a second while a broker is away
CLIENT_LINES_MAX = 5
CLIENT_WINDOW_S = 10.0
_CLIENT = "aiokafka"


class ClientLimit(logging.Filter):
    """Lets `CLIENT_LINES_MAX` lines of Kafka's client through in `CLIENT_WINDOW_S`; the next one says how many weren't."""

    def __init__(self) -> None:
        super().__init__()
        self._since_s = 0.0
        self._lines = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if not record.name.startswith(_CLIENT):
            return True
        now_s = time.monotonic()
        if now_s - self._since_s > CLIENT_WINDOW_S:
            left_out = self._lines - CLIENT_LINES_MAX
            self._since_s, self._lines = now_s, 0
            if left_out > 0:
                record.msg = f"{record.getMessage()} ({left_out} lines of {_CLIENT} were left out before this one)"
                record.args = ()
        self._lines += 1
        return self._lines <= CLIENT_LINES_MAX


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def logging_config(settings: Settings) -> dict[str, Any]:
    """For `logging.config.dictConfig`: to standard error, Faust's own lines from WARNING on."""
    text = {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"client": {"()": ClientLimit}},
        "formatters": {"lines": text if settings.log == "text" else {"()": JsonLines}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "lines", "filters": ["client"]},
        },
        "loggers": {
            "tidegate": {"level": "INFO"},
            "streams": {"level": "INFO"},
            # what Faust says of the services that are ours
            "streams.app": {"level": "WARNING"},
            "streams.transport": {"level": "WARNING"},
            "streams.recovery": {"level": "WARNING"},
            "faust": {"level": "WARNING"},
            "mode": {"level": "WARNING"},
            "aiokafka": {"level": "WARNING"},
            "aiohttp": {"level": "WARNING"},
        },
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }
