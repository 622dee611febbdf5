"""What the shell tells an operator.

    StreamsError
    ├── BrokerError         Kafka can't be reached, or refused what was asked
    ├── TopicsError         topics are missing, or other than they must be
    ├── DefinitionsRefused  an `apply` or `remove` that would leave something broken, or came too late
    └── InputError          a file or an argument that can't be used

`lines` is what is wrong, one line each; `status` is what a command that meets it exits with.
"""


class StreamsError(Exception):
    """Root of what the shell raises for people; its message says what to do."""

    status = 1

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class BrokerError(StreamsError):
    """Kafka can't be reached or refused; the operator starts it, or corrects TIDEGATE_BROKER."""


class TopicsError(StreamsError):
    """Topics are missing or other than they must be; `tidegate topics create` makes or compares them."""


class DefinitionsRefused(StreamsError):
    """Nothing was applied; the author of the definitions corrects them, or runs the command again."""

    status = 2


class InputError(StreamsError):
    """A file or an argument that can't be used; whoever gave it corrects it."""

    status = 2
