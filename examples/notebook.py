"""Asks books without asyncio, as a notebook does: what buying costs, how the sides are balanced.

python examples/notebook.py 127.0.0.1:19092 SOL_USDC
"""

import sys

from backpack_streams import BookError, Books, Side, Status


def main(kafka: str, symbol: str) -> None:
    with Books(kafka, symbol) as books:
        if not books.until_live(60):
            sys.exit(f"{symbol} is not LIVE: {books[symbol].reason}")
        now = books[symbol]  # a copy: nothing changes it any more
        print(f"{symbol} as of update {now.last_update_id}, touch {now.book.best_bid()} / {now.book.best_ask()}")
        print(f"mid {now.book.mid()}, five levels a side weigh {now.book.imbalance(5):.4f} to the bids")
        for quantity in ("1", "10", "1000000000"):
            try:
                fill = now.book.price_for(quantity, Side.ASK)
                print(f"buying {quantity} costs {fill.cost:f}, down to {fill.worst_price:f}")
            except BookError as error:
                print(f"buying {quantity}: {error}")
        for later in books:  # the latest of each market as it changes
            if later.status is Status.LIVE and later.last_update_id != now.last_update_id:
                print(f"now at update {later.last_update_id}, mid {later.book.mid()}")
                break


if __name__ == "__main__":
    main(*sys.argv[1:])
