"""The `export` command: writes the records of a topic in a time range to Parquet files."""
