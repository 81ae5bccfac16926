"""Rewrites `kafka_jars.txt` for another Kafka version: `python -m embedded_kafka.relock`.

Resolves Kafka's dependency tree, downloads every jar and records its SHA-256. Developers run it when they change
`KAFKA_VERSION`; users never do.
"""

import sys
import tempfile
from pathlib import Path

from embedded_kafka.downloads import repository_context, sha256_of
from embedded_kafka.jars import KAFKA_VERSION

__all__ = ["main"]

# slf4j-simple, not slf4j-nop: a broker must be able to log why it ended. Its version must be that of the
# slf4j-api that Kafka brings, and no other binding may be on the class path.
SLF4J_VERSION = "1.7.36"
ROOTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}",
    f"org.slf4j:slf4j-simple:{SLF4J_VERSION}",
)
_RUNTIME_SCOPES = ("compile", "runtime")


def _locked_lines(repository: Path) -> list[str]:
    from jgo.parse import Coordinate

    context = repository_context(repository)
    roots = [context.create_dependency(Coordinate.parse(root)) for root in ROOTS]
    inputs, transitive = context.resolver.resolve(roots)
    artifacts = [dep.artifact for dep in (*inputs, *(dep for dep in transitive if dep.scope in _RUNTIME_SCOPES))]
    return sorted(
        (f"{sha256_of(artifact.resolve())}  {artifact.groupId}:{artifact.artifactId}:{artifact.version}")
        for artifact in artifacts
    )


def main() -> None:
    """Write the list into the folder of this module, sorted by Maven coordinate. Needs the network and the package jgo.

    Raises:
        EmbeddedError: `jgo` is not installed.
    """
    with tempfile.TemporaryDirectory() as repository:
        lines = sorted(_locked_lines(Path(repository)), key=lambda line: line.split()[1])
    header = [
        f"# Jars of Apache Kafka {KAFKA_VERSION}, its tools and their log binding: SHA-256, group:artifact:version.",
        "# Written by relock.py.",
    ]
    target = Path(__file__).with_name("kafka_jars.txt")
    target.write_text("\n".join([*header, *lines, ""]), encoding="ascii")
    sys.stdout.write(f"{len(lines)} jars recorded in {target.name}\n")


if __name__ == "__main__":
    main()
