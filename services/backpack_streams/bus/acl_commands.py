"""Prints ACLs as the shortest list of `kafka-acls.sh` command lines."""

import shlex
from collections.abc import Iterable, Iterator

from backpack_streams.bus.access import Grant, Operation, Resource

__all__ = ["CLIENT_CONFIG", "acl_commands"]

CLIENT_CONFIG = "admin.properties"
"""Placeholder for the client configuration of an administrator."""


def acl_commands(
    principal: str, needed: Iterable[Grant], bootstrap_servers: str, *, with_client_config: bool
) -> Iterator[str]:
    """Yield command lines that add the ACLs. Resources of one kind with the same operations share a line.

    Args:
        principal: the principal to allow, e.g. `User:market-producer`.
        needed: the grants to add.
        bootstrap_servers: the brokers' addresses, `host:port` separated by commas.
        with_client_config: whether each line names `CLIENT_CONFIG`, which a cluster with authentication needs.
    """
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
