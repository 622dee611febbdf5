"""The catalogue of fields as definitions are checked by it."""

from collections.abc import Iterable, Mapping
from typing import Any

from redis.exceptions import RedisError

from schemas.instants import format_instant
from segments.warn_fields import KnownFields, SeenField
from streams.dispatcher_setup import connect
from streams.errors import StreamsError
from streams.fields import DEPTH_MAX, paths
from streams.fields_store import Catalogue, FieldStore, Known
from streams.settings import Settings

DATE_CHARACTERS = len("2026-03-01")


async def read_known(settings: Settings, made: Iterable[Mapping[str, Any]]) -> KnownFields:
    """What events have had, and the traits of `made`, which sequences will set.

    Raises `StreamsError` where Redis is away, or can't say what no event has.
    """
    client = connect(settings)
    try:
        catalogue = await FieldStore(client, settings.prefix).read()
    except (RedisError, OSError) as error:
        raise StreamsError(f"Redis is away ({type(error).__name__}: see TIDEGATE_REDIS)") from None
    finally:
        await client.aclose()
    if not catalogue.began:
        raise StreamsError("no projector has read any events yet")
    if catalogue.filling:
        raise StreamsError(f"a projector still reads events, {catalogue.filling} partitions to go")
    if catalogue.left_out:
        raise StreamsError(f"it lacks about {catalogue.left_out} fields (`tidegate fields` says why)")
    return known_of(catalogue, made)


def known_of(catalogue: Catalogue, made: Iterable[Mapping[str, Any]]) -> KnownFields:
    """The same of a catalogue that is whole."""
    set_alone = SeenField(0, "")
    traits = {path: set_alone for each in made for path, _ in paths(each)}
    properties: dict[str, dict[str, SeenField]] = {}
    for known in catalogue.fields:
        there = traits if known.field.kind == "trait" else properties.setdefault(known.field.event, {})
        there[known.field.path] = _seen(known)
    return KnownFields(traits, properties, DEPTH_MAX)


def _seen(known: Known) -> SeenField:
    last_ms = max(at_ms for by_type in known.sources.values() for at_ms in by_type.values())
    return SeenField(len(known.sources), format_instant(last_ms)[:DATE_CHARACTERS])
