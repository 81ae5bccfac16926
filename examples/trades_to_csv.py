"""Writes trades to a CSV file, each once and in order, every digit kept; what is missing goes to stderr.

python examples/trades_to_csv.py 127.0.0.1:19092 trades.csv SOL_USDC BTC_USDC_PERP
"""

import asyncio
import csv
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from backpack_streams import Gap, RecordStream

COLUMNS = ("symbol", "trade_id", "engine_time", "price", "quantity", "is_buyer_maker")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def main(kafka: str, path: str, *symbols: str) -> None:
    with open(path, "a", newline="", encoding="utf-8") as file:  # noqa: ASYNC230  # a local file
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        async with RecordStream(kafka, "market.trade", symbols or None, start="beginning") as trades:
            async for trade in trades:
                if isinstance(trade, Gap):
                    print(f"{trade.symbol}: trades {trade.first_id} to {trade.last_id} are missing", file=sys.stderr)
                    continue
                value = trade.value
                moment = EPOCH + timedelta(microseconds=value["engine_time"] or value["received_time"])
                numbers = f"{value['price']:f}", f"{value['quantity']:f}"
                rows.writerow((trade.symbol, value["trade_id"], moment.isoformat(), *numbers, value["is_buyer_maker"]))
                file.flush()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
