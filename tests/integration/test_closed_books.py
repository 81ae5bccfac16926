"""A market that is delisted and listed again, as its top shows it to readers of tops only."""

from pathlib import Path
from typing import Any

from embedded_kafka import BlockingKafka
from plant import running_plant, wait_until
from reading import read_topic

PREFIX = "closed-books."
SYMBOL = "SOL_USDC"


def test_the_top_of_a_delisted_market_is_closed_until_it_is_listed_again(kafka: BlockingKafka, tmp_path: Path) -> None:
    def tops() -> list[dict[str, Any]]:
        records = read_topic(kafka.bootstrap_servers, PREFIX + "market.book_top", "BookTop")
        return [each.value for each in records if each.value and each.value["symbol"] == SYMBOL]

    def newest() -> str:
        rows = tops()
        return str(rows[-1]["status"]) if rows else ""

    with running_plant(kafka.bootstrap_servers, tmp_path, PREFIX) as plant:
        exchange = plant.start_exchange("--symbols", "3", "--rate", "60", "--cache-seconds", "0")
        plant.start_ready("rest-poller", "--market-refresh", "0.5")
        plant.start_ready("market-producer", "--market-refresh", "0.5", "--streams", "depth")
        builder = plant.start_ready("book-builder")
        wait_until("its top is LIVE", lambda: newest() == "LIVE")
        exchange.order("delist", symbol=SYMBOL)
        wait_until("its top is CLOSED", lambda: newest() == "CLOSED")
        closed = tops()[-1]
        assert closed["reason"] == "the exchange says that its book is Closed"
        assert closed["bids"], "the last state before"
        exchange.order("list", symbol=SYMBOL)
        wait_until("its top is LIVE again", lambda: newest() == "LIVE")
        wait_until("it goes on", lambda: tops()[-1]["last_update_id"] > closed["last_update_id"])
        assert builder.stop() == 0
        # A reader that starts later learns it from the list.
        exchange.order("delist", symbol=SYMBOL)
        wait_until("the list is in Kafka", lambda: _is_closed_in_the_list(kafka))
        plant.start_ready("book-builder")
        wait_until("its top is CLOSED at once", lambda: newest() == "CLOSED")


def _is_closed_in_the_list(kafka: BlockingKafka) -> bool:
    rows = read_topic(kafka.bootstrap_servers, PREFIX + "reference.market", "Market")
    return [each.value for each in rows if each.value and each.key == SYMBOL][-1]["order_book_state"] == "Closed"
