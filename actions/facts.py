"""What is known of a contact at the instant of sending, as the checks of `actions/decisions.py` are given it."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.transitions import Consent, MembershipRecord

EVERY_GROUP = ""


@dataclass(frozen=True)
class Facts:
    """One contact, as of one instant.

    `ready`: the read model is whole; else nothing can be said of what is not in it. `revision`: counter of the contact's
    changes, None where there is no such contact. `gone`: it was erased. `consent`: by group, the last word on each, in order
    of arrival. `zone`: its trait `timezone`. `membership`: of the segment that the delivery's `while` asks for.
    `endings`: of what ends its sequence, in that order. `suppressed`: why nothing is sent to the address any more.
    """

    ready: bool = True
    revision: int | None = None
    gone: bool = False
    consent: Mapping[str, Consent] | None = None
    zone: object = None
    membership: MembershipRecord | None = None
    suppressed: str | None = None
    endings: tuple[MembershipRecord | None, ...] = ()

    def word(self, group: str | None) -> bool | None:
        """Whether messages of a group (None: of no group in particular) are wanted; None where nothing was said of it.

        The last word counts, on the group or on every one, by event time; of ties the later to arrive, as in segments.
        """
        latest: Consent | None = None
        for named, word in (self.consent or {}).items():
            if named in (EVERY_GROUP, group) and (latest is None or word.at >= latest.at):
                latest = word
        return None if latest is None else latest.on
