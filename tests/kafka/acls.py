"""ACLs as Kafka's admin client takes them, by the words that `kafka-acls.sh` and deploy/README.md have for them."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
}


def binding(principal: str, operation: str, kind: str, name: str, pattern: str) -> AclBinding:
    """Allows `principal` an operation on what has this name, or begins with it (`pattern`: literal or prefixed)."""
    named = {"DescribeConfigs": AclOperation.DESCRIBE_CONFIGS}.get(operation) or AclOperation[operation.upper()]
    how = ResourcePatternType[pattern.upper()]
    return AclBinding(KINDS[kind], name, how, principal, "*", named, AclPermissionType.ALLOW)


def grant(address: str, bindings: Iterable[AclBinding]) -> None:
    """Makes them, through a listener where nobody is asked who he is."""
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    for done in admin.create_acls(list(bindings)).values():
        done.result(20)
