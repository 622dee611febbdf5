"""What a sequence asks of a contact, as it is written, to ids of segments: conditions in place are lifted into their own."""

import hashlib
import json
from typing import Any

from actions.reader import ON, Reader
from actions.sequences import LIFTED
from segments.calendar import zone, zone_names

# of shorter ones, which may be abbreviations, another is near that means another zone; no longer one is near any
_CLOSE = range(5, 41)


class Conditions:
    """The conditions of sequence `id` in zone `tz`; `lifted` and `places` gather as a `Sequence` has them."""

    def __init__(self, reader: Reader, id: str, tz: str) -> None:
        self.id = id
        self.lifted: dict[str, dict[str, Any]] = {}
        self.places: dict[str, str] = {}
        self._reader, self._tz = reader, tz

    def segment(self, found: Any, path: str, prefix: str = LIFTED) -> str:
        """The segment that stands for the condition at `path`, with `prefix` where it is lifted; "" with an error."""
        if not isinstance(found, dict) or not found:
            self._reader.error(f"a condition such as {ON}", found, path)
            return ""
        if list(found) == ["segment"]:
            id = self._reader.segment(found, path)
        else:
            id = lifted_id(found, self._tz, prefix)
            self.lifted[id] = {"id": id, "when": found, "tz": self._tz}
        self.places.setdefault(id, f"${path}")
        return id

    def named(self, mapping: dict[str, Any], path: str, prefix: str = LIFTED) -> str:
        """The segment under `segment`, or that stands for the condition under `when`; "" with an error."""
        if "segment" in mapping and "when" in mapping:
            self._reader.say("expected one of `segment` and `when`, got both", path)
            return ""
        if "when" in mapping:
            return self.segment(mapping["when"], f"{path}.when", prefix)
        if "segment" not in mapping:
            self._reader.say("expected `segment` or `when`, got none", path)
            return ""
        return self.segment({"segment": mapping["segment"]}, path)


def lifted_id(when: Any, tz: str, prefix: str = LIFTED) -> str:
    """The id of the segment that stands for a condition in zone `tz`: the same for the same data. It begins with `prefix`."""
    canonical = json.dumps([when, tz], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return prefix + hashlib.sha256(canonical.encode()).hexdigest()[:16]


def read_tz(reader: Reader, mapping: dict[str, Any], path: str, default: str) -> str:
    """The zone under `tz`: an IANA name or `contact`."""
    found = mapping.get("tz", default)
    if isinstance(found, str) and (found == "contact" or zone(found) is not None):
        return found
    near = ("contact", *sorted(zone_names())) if isinstance(found, str) and len(found) in _CLOSE else ()
    reader.error("UTC, an IANA time zone such as Europe/Paris, or contact", found, f"{path}.tz", near)
    return default
