from embedded_kafka.jars import KAFKA_VERSION, PinnedJar, pinned_jars
from embedded_kafka.relock import ROOTS, SLF4J_VERSION


def test_every_root_is_among_the_recorded_jars() -> None:
    recorded = {f"{jar.group}:{jar.artifact}:{jar.version}" for jar in pinned_jars()}
    assert recorded >= set(ROOTS)


def test_each_artifact_is_there_once_and_has_a_checksum() -> None:
    jars = pinned_jars()
    names = [(jar.group, jar.artifact) for jar in jars]
    assert len(names) == len(set(names))
    assert len({jar.filename for jar in jars}) == len(jars)
    assert all(len(jar.sha256) == 64 and int(jar.sha256, 16) for jar in jars)


def test_kafka_s_parts_are_of_one_version() -> None:
    assert {jar.version for jar in pinned_jars() if jar.group == "org.apache.kafka"} == {KAFKA_VERSION}


def test_one_log_binding_that_fits_the_api() -> None:
    bindings = {"slf4j-simple", "slf4j-nop", "slf4j-log4j12", "slf4j-reload4j", "log4j-slf4j-impl", "logback-classic"}
    jars = {jar.artifact: jar.version for jar in pinned_jars()}
    assert [name for name in jars if name in bindings] == ["slf4j-simple"]
    assert jars["slf4j-simple"] == jars["slf4j-api"] == SLF4J_VERSION


def test_a_line_of_the_list() -> None:
    jar = PinnedJar.parse(f"{'ab' * 32}  org.example:thing_2.13:1.2.3-4")
    assert (jar.group, jar.artifact, jar.version) == ("org.example", "thing_2.13", "1.2.3-4")
    assert jar.filename == "thing_2.13-1.2.3-4.jar"
