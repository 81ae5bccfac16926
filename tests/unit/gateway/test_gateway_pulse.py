"""When the gateway reports that Kafka is unavailable."""

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.errors import BusError
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant import Plant
from backpack_streams.gateway.pulse import Pulse


def pulse_of(data: MarketData) -> Pulse:
    return Pulse(KafkaConnection("kafka:9092"), "backpack.", data, Plant())


def test_a_moving_leader_is_no_outage() -> None:
    data = MarketData()
    pulse = pulse_of(data)
    pulse.answered_at = 100.0
    for second in range(1, 5):
        pulse.on_failure(BusError("the leader moves"), 100.0 + second)
        assert data.unavailable() == ""
    assert pulse.failures == 4


def test_five_seconds_without_an_answer_are_an_outage() -> None:
    data = MarketData()
    pulse = pulse_of(data)
    pulse.answered_at = 100.0
    pulse.on_failure(BusError("Kafka is unreachable"), 105.0)
    assert data.unavailable() == "Kafka is unreachable"


def test_a_kafka_that_has_never_answered_is_unavailable() -> None:
    data = MarketData()
    pulse_of(data).on_failure(TimeoutError(), 1.0)
    assert data.unavailable() == "Kafka at kafka:9092 has not answered for 5 s"
