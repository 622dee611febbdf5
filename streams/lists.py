"""Static lists: files of the ids of contacts that come onto a list, or leave it, as imports of `list` events.

They are of now, and somebody's doing: what they bring has the cause `manual`, on which a rule acts that asks for it.
"""

import hashlib
import secrets
from typing import Final

from actions.reader import ID
from streams.imports_mapping import Mapping, Value

ADDED, REMOVED = "added", "removed"
_HASH_CHARACTERS: Final = 16


def list_mapping(name: str, column: str, *, removed: bool = False) -> Mapping:
    """What makes each row of a file an event that adds (or has `removed`) the contact in `column` to the list `name`.

    Its id, which stands in the name of the file that says how far an import is, tells list and direction from others.
    """
    action = REMOVED if removed else ADDED
    known = hashlib.sha256(f"{name}\0{column}\0{action}".encode()).hexdigest()
    constants = {
        "type": "list",
        "list": name,
        "action": action,
        # of one run: a contact that is in the file twice is taken once, and a later run is never taken for this one
        "messageId": f"list-{secrets.token_hex(_HASH_CHARACTERS // 2)}",
    }
    fields = {key: Value(key, None, constant) for key, constant in constants.items()}
    return Mapping(
        id=f"list.{name if ID.fullmatch(name) else known[:_HASH_CHARACTERS]}.{action}",
        digest=known,
        fields={**fields, "userId": Value("--column", column, type="text")},
        properties={},
        traits={},
        repeatable=True,
    )
