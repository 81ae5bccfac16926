"""Tells of large liquidations and of funding rates that are far from zero, and of times in which neither can be known.

python examples/alerts.py 127.0.0.1:19092 LIQUIDATION_VALUE FUNDING_RATE

For example `10000 0.0005`: liquidations of 10,000 and more in the quote currency, rates of 0.05 % an interval and beyond.
"""

import asyncio
import sys
from contextlib import suppress
from decimal import Decimal

from backpack_streams import RecordStream, is_of
from backpack_streams.books import records

SETTLED = ("REFILLED", "REFILL_INCOMPLETE")
"""Not a gap, but what became of one."""
TOPICS = ("perp.liquidation", "perp.mark_price", "ops.gap")


async def main(kafka: str, least_value: str, least_rate: str) -> None:
    value_limit, rate_limit = Decimal(least_value), Decimal(least_rate)
    is_far: dict[str, bool] = {}
    async with RecordStream(kafka, TOPICS) as stream:
        async for item in stream:
            if is_of(item, records.Liquidation):
                liquidation = item.value
                value = liquidation["price"] * liquidation["quantity"]
                if value >= value_limit:
                    print(f"LIQUIDATION {item.symbol} {liquidation['side']} {value:f}", flush=True)
            elif is_of(item, records.MarkPrice):
                rate = item.value["funding_rate"]
                far = rate is not None and abs(rate) >= rate_limit
                if far and not is_far.get(item.symbol):  # once, until it has come back
                    print(f"FUNDING {item.symbol} {rate:f} at mark {item.value['mark_price']:f}", flush=True)
                is_far[item.symbol] = far
            elif is_of(item, records.Gap) and speaks_of_us(item.value):
                print(f"UNKNOWN {item.value['stream']}: {item.value['reason']}", flush=True)


def speaks_of_us(gap: records.Gap) -> bool:
    return gap["stream"].startswith(("liquidation", "markPrice")) and gap["reason"] not in SETTLED


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
