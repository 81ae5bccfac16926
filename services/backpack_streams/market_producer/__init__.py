"""The service for a market's own streams: depth, book ticker, trade, ticker, kline."""
