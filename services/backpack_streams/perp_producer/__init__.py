"""The service for the streams of futures: mark price, open interest, liquidation."""
