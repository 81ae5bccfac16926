"""Recordings of the exchange's wire: the file format, written and read without I/O, and the files themselves."""
