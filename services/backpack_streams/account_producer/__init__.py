"""The service for the private streams of one account: orders, positions, requests for quote, balances."""
