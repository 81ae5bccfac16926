"""The `export` command: a topic's records of a range of time as Parquet files."""
