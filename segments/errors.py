"""What can be wrong with definitions.

SegmentsError
├── DefinitionErrors    a file that can't be used; all that is wrong with it
└── StateError          a state record that this code can't read
"""


class SegmentsError(Exception):
    """Root of what `segments` raises."""


class DefinitionErrors(SegmentsError):
    """All errors of one file, one line each in `errors`; its author corrects them, nothing of the file is loaded."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class StateError(SegmentsError):
    """A state record that can't be read: written by a newer version, or damaged. The operator looks at the record."""
