"""What producers and readers share about sequences and coverage: no I/O, no other package of ours but `errors`."""
