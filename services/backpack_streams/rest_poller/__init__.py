"""The service that asks the exchange's REST API: book seeds, reference data, and what sockets missed."""
