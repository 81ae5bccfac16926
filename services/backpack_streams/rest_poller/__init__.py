"""The service that polls the exchange's REST API: book snapshots, reference data, and refills of what the sockets missed."""
