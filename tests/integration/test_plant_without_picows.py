"""A producer on a platform without picows: the WebSocket runs on `websockets`, and a close by the server loses nothing."""

import os
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from embedded_kafka import BlockingKafka
from plant import running_plant, wait_until
from reading import read_topic

PREFIX = "portable."


def without_picows(folder: Path) -> tuple[dict[str, str], Path]:
    """An environment in which `import picows` fails as if it were not installed, and a file that exists once it was tried."""
    tried = folder / "tried"
    (folder / "picows.py").write_text(
        f"open({str(tried)!r}, 'w').close()\nraise ModuleNotFoundError('no picows', name='picows')\n"
    )
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, tried


def test_a_close_by_the_server_loses_nothing(kafka: BlockingKafka, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    environment, tried = without_picows(hidden)
    with running_plant(kafka.bootstrap_servers, tmp_path, PREFIX) as plant:
        exchange = plant.start_exchange("--symbols", "2", "--rate", "400", "--grace-seconds", "3")
        service = plant.start("market-producer", "--streams", "depth", environment=environment)
        wait_until("it is ready", service.is_ready)
        assert tried.exists()
        opens = service.metric("socket_opens_total")
        exchange.order("close")
        wait_until("it has a new socket", lambda: service.metric("socket_opens_total") > opens)
        wait_until("the old socket is gone", lambda: set(exchange.ask("/state")["subscriptions"].values()) == {1})
        assert service.metric("socket_server_closes_total") == 1
        exchange.finish()
        exchange.wait_finished()
        books = {symbol: book["last_update_id"] for symbol, book in exchange.ask("/books").items()}
        ids = defaultdict(list)

        def all_is_published() -> bool:
            ids.clear()
            for each in read_topic(kafka.bootstrap_servers, PREFIX + "market.depth", "DepthUpdate"):
                assert each.value is not None
                ids[each.value["symbol"]].append((each.value["first_update_id"], each.value["last_update_id"]))
            return {symbol: ranges[-1][1] for symbol, ranges in ids.items()} == books

        wait_until("Kafka has the last update of each book", all_is_published)
        assert service.stop() == 0, service.log_tail()
        for ranges in ids.values():
            assert all(first == last + 1 for (_, last), (first, _) in pairwise(ranges))
        gaps = [each.value for each in read_topic(kafka.bootstrap_servers, PREFIX + "ops.gap", "Gap") if each.value]
        assert {gap["reason"] for gap in gaps} <= {"STREAM_START"}
