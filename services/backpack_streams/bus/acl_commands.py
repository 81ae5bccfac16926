"""Rights as command lines of `kafka-acls.sh`, as few as they can be said in."""

import shlex
from collections.abc import Iterable, Iterator

from backpack_streams.bus.access import Grant, Operation, Resource

__all__ = ["CLIENT_CONFIG", "acl_commands"]

CLIENT_CONFIG = "admin.properties"
"""Stands for the file with the login of whoever may grant rights."""


def acl_commands(
    principal: str, needed: Iterable[Grant], bootstrap_servers: str, *, with_client_config: bool
) -> Iterator[str]:
    """One line for all resources of a kind on which the same is allowed."""
    together: dict[tuple[Resource, tuple[Operation, ...]], list[str]] = {}
    for (resource, name), operations in _by_resource(needed).items():
        together.setdefault((resource, tuple(operations)), []).append(name)
    for (resource, allowed), names in together.items():
        words = ["kafka-acls.sh", "--bootstrap-server", bootstrap_servers]
        words += ["--command-config", CLIENT_CONFIG] if with_client_config else []
        words += ["--add", "--allow-principal", principal]
        words += [word for operation in allowed for word in ("--operation", operation.value)]
        flag = f"--{resource.value}"
        words += [flag] if resource is Resource.CLUSTER else [word for name in names for word in (flag, name)]
        yield shlex.join(words)


def _by_resource(needed: Iterable[Grant]) -> dict[tuple[Resource, str], list[Operation]]:
    found: dict[tuple[Resource, str], list[Operation]] = {}
    for grant in needed:
        found.setdefault((grant.resource, grant.name), []).append(grant.operation)
    return found
