from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from embedded_kafka.properties import BrokerLayout, broker_properties, render_properties
from embedded_kafka.security import BrokerSecurity


def layout(node_id: int = 1, brokers: int = 1, folder: str = "/data") -> BrokerLayout:
    return BrokerLayout(
        node_id=node_id,
        host="127.0.0.1",
        client_port=19092,
        internal_port=20001,
        controller_ports=tuple(range(20100, 20100 + brokers)),
        data_folder=Path(folder),
    )


def load_as_java(text: str) -> dict[str, str]:
    """java.util.Properties.load, as far as one line per property goes."""
    loaded: dict[str, str] = {}
    for line in text.split("\n"):
        if line:
            units: list[str] = []
            name: str | None = None
            characters = iter(line)
            for character in characters:
                if character == "\\":
                    escaped = next(characters)
                    if escaped == "u":
                        units.append(chr(int("".join(next(characters) for _ in range(4)), 16)))
                    else:
                        units.append({"n": "\n", "r": "\r", "t": "\t", "f": "\f"}.get(escaped, escaped))
                elif name is None and character in "=: \t":
                    name, units = joined(units), []
                elif not (name is not None and not units and character in " \t\f"):
                    units.append(character)
            assert name is not None
            loaded[name] = joined(units)
    return loaded


def joined(units: list[str]) -> str:
    """Java's strings are UTF-16: two escapes may be one character."""
    return "".join(units).encode("utf-16", "surrogatepass").decode("utf-16")


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(TEXT.filter(bool), TEXT))
def test_what_java_loads_is_what_was_given(properties: dict[str, str]) -> None:
    rendered = render_properties(properties)
    assert rendered.isascii()
    assert load_as_java(rendered) == properties


def test_one_broker_keeps_one_copy() -> None:
    properties = broker_properties(layout())
    assert properties["default.replication.factor"] == "1"
    assert properties["min.insync.replicas"] == "1"
    assert properties["offsets.topic.replication.factor"] == "1"
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:20100"


def test_three_brokers_keep_three_copies_and_write_to_two() -> None:
    properties = broker_properties(layout(node_id=2, brokers=3))
    assert properties["node.id"] == "2"
    assert properties["default.replication.factor"] == "3"
    assert properties["min.insync.replicas"] == "2"
    assert properties["transaction.state.log.replication.factor"] == "3"
    assert properties["transaction.state.log.min.isr"] == "2"
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:20100,2@127.0.0.1:20101,3@127.0.0.1:20102"
    assert properties["listeners"].endswith("CONTROLLER://127.0.0.1:20101")


def test_no_topic_is_made_by_a_client_s_typing_error() -> None:
    assert broker_properties(layout())["auto.create.topics.enable"] == "false"


def test_old_recordings_outlive_a_demonstration() -> None:
    properties = broker_properties(layout())
    assert properties["log.initial.task.delay.ms"] == "3600000"
    assert properties["log.retention.check.interval.ms"] == "3600000"
    assert properties["log.cleaner.backoff.ms"] == "3600000"


def test_given_properties_win() -> None:
    assert broker_properties(layout(), overrides={"num.io.threads": "9"})["num.io.threads"] == "9"


def test_security_is_the_client_listener_s_alone() -> None:
    security = BrokerSecurity("SASL_PLAINTEXT", "PLAIN", {"alice": "secret"})
    properties = broker_properties(layout(), security)
    assert properties["listener.security.protocol.map"] == (
        "CLIENT:SASL_PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
    )
    assert properties["inter.broker.listener.name"] == "INTERNAL"
