"""The command that writes the history of one market and stream into the topic that the stream itself goes to."""
