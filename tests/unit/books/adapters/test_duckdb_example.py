"""`examples/duckdb_over_export.py` against DuckDB itself, on files written by `export`."""

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backpack_streams.bus.schemas import own_schemas
from backpack_streams.commands.export.arrow_types import arrow_schema
from backpack_streams.commands.export.folder import Folder

pytest.importorskip("duckdb", reason="DuckDB is not installed")

EXAMPLE = Path(__file__).parents[4] / "examples" / "duckdb_over_export.py"
TOPIC = "backpack.market.trade"
MINUTE = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
TRADE = own_schemas()["Trade"].document


def trade(offset: int, second: int, price: str, quantity: str) -> dict[str, Any]:
    moment = MINUTE.replace(second=second)
    row: dict[str, Any] = {field["name"]: None for field in TRADE["fields"] if field["name"] != "symbol"}
    row |= {"kafka_partition": 0, "kafka_offset": offset, "kafka_timestamp": moment, "kafka_key": "k"}
    row |= {"engine_time": moment, "received_time": moment, "trade_id": offset, "is_buyer_maker": True}
    return row | {"price": Decimal(price), "quantity": Decimal(quantity), "source": "WEBSOCKET"}


def test_the_example_sums_up_an_export(tmp_path: Path) -> None:
    day_ms = int(MINUTE.replace(hour=0, minute=0).timestamp()) * 1000
    out = Folder(tmp_path / TOPIC, arrow_schema(TRADE), (day_ms, day_ms + 86_400_000), by_symbol=True)
    out.write(("2026-11-22", "SOL_USDC"), [trade(1, 1, "100", "1"), trade(2, 59, "130", "2")])
    out.write(("2026-11-22", "BTC_USDC"), [trade(3, 2, "86700.1", "0.000000000000000001")])
    out.publish()
    done = subprocess.run([sys.executable, str(EXAMPLE), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "BTC_USDC 2026-11-22T09:30 1 trades, volume 0.000000000000000001, vwap 86700.1000",
        "SOL_USDC 2026-11-22T09:30 2 trades, volume 3, vwap 120.0000",
    ]
