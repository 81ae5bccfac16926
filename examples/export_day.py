"""Exports a day of trades to Parquet, adds it up market by market, and plots it if matplotlib is installed.

python examples/export_day.py 127.0.0.1:19092 2026-11-22 data
"""

import subprocess
import sys
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

TOPIC = "backpack.market.trade"


def export(kafka: str, day: date, folder: Path) -> None:
    """The same range again replaces what was there, so this may be repeated."""
    command = [sys.executable, "-m", "backpack_streams", "export", TOPIC, "--bootstrap-servers", kafka]
    command += ["--from", day.isoformat(), "--to", (day + timedelta(days=1)).isoformat(), "--out", str(folder)]
    subprocess.run([*command, "--distinct"], check=True)


def rows(folder: Path) -> Iterable[dict[str, Any]]:
    """Trades in order, prices as exact decimals; the symbol is in the folders' names."""
    found = ds.dataset(folder / TOPIC, format="parquet", partitioning="hive")
    listed: list[dict[str, Any]] = (
        found.sort_by([("symbol", "ascending"), ("trade_id", "ascending")]).to_table().to_pylist()
    )
    return listed


def plot(prices: dict[str, list[Decimal]], file: Path) -> None:
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        print("no plot: matplotlib is not installed")
        return
    figure, axes = plt.subplots()
    for symbol, series in prices.items():
        axes.plot([float(price / series[0]) for price in series], label=symbol)  # floats are for eyes only
    axes.legend()
    figure.savefig(file)
    print(f"plotted to {file}")


def main(kafka: str, day: str, folder: str) -> None:
    out = Path(folder)
    export(kafka, date.fromisoformat(day), out)
    prices: dict[str, list[Decimal]] = {}
    volumes: dict[str, Decimal] = {}
    for row in rows(out):
        prices.setdefault(row["symbol"], []).append(row["price"])
        volumes[row["symbol"]] = volumes.get(row["symbol"], Decimal(0)) + row["quantity"]
    for symbol, series in prices.items():
        span = f"{min(series).normalize():f} to {max(series).normalize():f}"
        print(f"{symbol}: {len(series)} trades, volume {volumes[symbol].normalize():f}, {span}")
    plot(prices, out / "day.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
