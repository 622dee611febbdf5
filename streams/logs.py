"""How log lines look, and how many of them Kafka's client may write."""

import json
import logging
import time
from typing import Any

from aiokafka.errors import GroupCoordinatorNotAvailableError

from streams.settings import Settings

# aiokafka writes up to thousands of lines a second while a broker is away
CLIENT_LINES_MAX = 5
CLIENT_WINDOW_S = 10.0
# a fresh broker first sets up where groups are kept; one that can't (too few brokers) goes on saying so
COORDINATOR_S_MAX = 10.0
_CLIENT = "aiokafka"
_ORDINARY = {
    # TIDEGATE_BROKER_SECURITY=SASL_PLAINTEXT has said so once; the client says it of every connection
    "Sending username and password in the clear",
    # whenever a worker comes or goes; what it leads to is a line of ours
    "Heartbeat failed for group %s because it is rebalancing",
}


class ClientLimit(logging.Filter):
    """Lets `CLIENT_LINES_MAX` lines of Kafka's client through in `CLIENT_WINDOW_S`; the next one says how many weren't."""

    def __init__(self) -> None:
        super().__init__()
        self._since_s = 0.0
        self._lines = 0
        self._missing_since_s, self._missed_s = 0.0, float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if not record.name.startswith(_CLIENT):
            return True
        now_s = time.monotonic()
        if record.msg in _ORDINARY or self._is_settling(record, now_s):
            return False
        if now_s - self._since_s > CLIENT_WINDOW_S:
            left_out = self._lines - CLIENT_LINES_MAX
            self._since_s, self._lines = now_s, 0
            if left_out > 0:
                record.msg = f"{record.getMessage()} ({left_out} lines of {_CLIENT} were left out before this one)"
                record.args = ()
        self._lines += 1
        return self._lines <= CLIENT_LINES_MAX

    def _is_settling(self, record: logging.LogRecord, now_s: float) -> bool:
        """Whether it says that the broker has no coordinator of groups, and that for a short while."""
        args = record.args if isinstance(record.args, tuple) else ()
        if not any(isinstance(each, GroupCoordinatorNotAvailableError) for each in args):
            return False
        if now_s - self._missed_s > COORDINATOR_S_MAX:
            self._missing_since_s = now_s
        self._missed_s = now_s
        return now_s - self._missing_since_s < COORDINATOR_S_MAX


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
    """For `logging.config.dictConfig`: to standard error, ours from TIDEGATE_LOG_LEVEL on, others' from WARNING on."""
    level = settings.log_level.upper()
    others = "ERROR" if level == "ERROR" else "WARNING"
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
            "tidegate": {"level": level},
            "streams": {"level": level},
            "actions": {"level": level},
            # what Faust says of the services that are ours
            "streams.app": {"level": others},
            "streams.transport": {"level": others},
            "streams.recovery": {"level": others},
            "faust": {"level": others},
            "mode": {"level": others},
            "aiokafka": {"level": others},
            "aiohttp": {"level": others},
        },
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }
