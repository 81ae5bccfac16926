"""How often each unknown field occurred. The exchange chooses the names, so only so many are kept: in memory, and as labels of metrics."""

MOST_FIELDS = 20
"""Unknown fields counted by name, per kind of message."""
OTHER_FIELDS = "other"


class UnknownFields(dict[str, int]):
    """Counts by name the first fields that occur, and all later ones together as `other`."""

    def __init__(self, most: int = MOST_FIELDS) -> None:
        """Start without counts. `most` is the number of fields counted by name."""
        super().__init__()
        self._most = most

    def count(self, name: str, times: int = 1) -> None:
        """Note that a field occurred, or occurred several times."""
        if name not in self and len(self) >= self._most:
            name = OTHER_FIELDS
        self[name] = self.get(name, 0) + times
