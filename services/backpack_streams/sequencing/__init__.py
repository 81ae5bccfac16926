"""Sequences and coverage, shared by producers and readers: no I/O, and no other package of ours but `errors`."""
