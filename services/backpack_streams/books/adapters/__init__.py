"""Converts books and records for trading systems. Each module needs its library, and imports it on first use."""
