"""The markets of a campaign, which are the sandbox's first ones, and what becomes of each."""

MARKETS = 7
"""How many of the sandbox's markets take part."""

BUSY = {"BTC_USDC_PERP": 8.0, "SOL_USDC": 4.0}
SLOW = {"AAPL.US_USDC_PERP": 0.2, "ETH_USDC": 0.5}
"""Turns that a market has where others have one."""

FALLS_SILENT = ("ETH_USDC_PERP", "kSHIB_USDC_PERP")
"""Each of them moves for the last time at the worst moment, once a campaign."""

CLOSES = ("SOL_USDC_PERP", "ETH_USDC")
"""Each of them is closed, or taken off the list, at most once a campaign."""

MARKET_FAMILIES = ("depth", "bookTicker", "trade", "ticker", "kline.1m")
PERP_FAMILIES = ("markPrice", "openInterest", "liquidation")
"""Streams that the producers are told to serve, for all markets."""

NOT_LOOKED_FOR: frozenset[str] = frozenset()
"""Of these nobody promises that a loss is on record (the README: the next one says all that counts). They are counted apart."""

READ_BY_ALL = (*BUSY, *FALLS_SILENT)
"""Of these every reader has the books; of the others those who read all."""
