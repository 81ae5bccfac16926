"""The markets of a campaign, which are the sandbox's first ones, and what happens to each."""

MARKETS = 7
"""Number of the sandbox's markets in a campaign."""

BUSY = {"BTC_USDC_PERP": 8.0, "SOL_USDC": 4.0}
SLOW = {"AAPL.US_USDC_PERP": 0.2, "ETH_USDC": 0.5}
"""Turns of a market, relative to 1 of the others."""

FALLS_SILENT = ("ETH_USDC_PERP", "kSHIB_USDC_PERP")
"""Each of them moves for the last time at the worst moment, once per campaign."""

CLOSES = ("SOL_USDC_PERP", "ETH_USDC")
"""Each of them is closed, or taken off the list, at most once per campaign."""

MARKET_FAMILIES = ("depth", "bookTicker", "trade", "ticker", "kline.1m")
PERP_FAMILIES = ("markPrice", "openInterest", "liquidation")
"""The streams of the producers, for all markets."""

NOT_LOOKED_FOR: frozenset[str] = frozenset()
"""For these, nobody promises that a loss is on record (the README: the next one says all that counts). They are counted separately."""

READ_BY_ALL = (*BUSY, *FALLS_SILENT)
"""Every reader reads these books; only some readers read all."""
