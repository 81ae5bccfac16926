"""The service for the streams of single markets: depth, book ticker, trade, ticker, kline, external ticker, stock price."""
