"""Asks an export in SQL: volume and volume-weighted price of each market by the minute, with exact decimals.

python examples/duckdb_over_export.py data [TOPIC]

`data` is what `backpack-streams export backpack.market.trade ... --distinct --out data` wrote. Needs `pip install duckdb`.
"""

import sys
from pathlib import Path

import duckdb

QUERY = """
    SELECT symbol,
           time_bucket(INTERVAL 1 MINUTE, coalesce(engine_time, received_time) AT TIME ZONE 'UTC') AS minute,
           count(*) AS trades,
           sum(quantity) AS volume,
           sum(price::DOUBLE * quantity::DOUBLE) / sum(quantity::DOUBLE) AS vwap
    FROM read_parquet($files, hive_partitioning = true)
    GROUP BY ALL
    ORDER BY ALL
"""


def main(folder: str, topic: str = "backpack.market.trade") -> None:
    files = str(Path(folder) / topic / "**" / "*.parquet")
    for symbol, minute, trades, volume, vwap in duckdb.execute(QUERY, {"files": files}).fetchall():
        print(f"{symbol} {minute:%Y-%m-%dT%H:%M} {trades} trades, volume {volume.normalize():f}, vwap {vwap:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
