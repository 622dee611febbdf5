"""What `tidegate api` asks of the read model in Redis, and what it says where that can't be told."""

from collections.abc import Awaitable
from typing import TypeVar

import msgspec
from fastapi import Response
from redis.exceptions import RedisError

from streams.api_definitions import DefinitionsInForce
from streams.api_problems import unavailable
from streams.lookups import NotWhole
from streams.revisions import InForce

T = TypeVar("T")


async def told(looking_up: Awaitable[T]) -> T:
    """What a lookup finds; raises `Problem` where Redis is away, or hasn't got everything yet."""
    try:
        return await looking_up
    except NotWhole as error:
        raise unavailable(str(error)) from None
    except (RedisError, OSError) as error:
        raise unavailable(
            f"expected Redis to tell who is in which segment, got {type(error).__name__}: see TIDEGATE_REDIS of the API"
        ) from None


def last_known(definitions: DefinitionsInForce) -> InForce:
    """What is in force, as far as Kafka has told; raises `Problem` where it never has."""
    if not definitions.known:
        raise unavailable(definitions.problem or "the definitions have not been read yet")
    return definitions.in_force


def personal(found: msgspec.Struct | dict[str, object]) -> Response:
    """An answer that nobody keeps."""
    body = msgspec.json.encode(found)
    return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")
