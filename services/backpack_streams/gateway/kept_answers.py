"""Answers that are kept until their data changes, so that each is encoded once for all who ask. Sans I/O."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from backpack_streams.gateway.answers import Answer, Row

__all__ = ["KeptAnswers"]

MOST_ANSWERS: Final = 512
"""An answer with its encoded bytes takes up to about 60 KiB."""


class KeptAnswers:
    """The answers that were asked for last."""

    def __init__(self, most: int = MOST_ANSWERS) -> None:
        """Start empty.

        Args:
            most: the number of answers to keep; the least recently used one is dropped.
        """
        self._most = most
        self._answers: OrderedDict[Hashable, tuple[Hashable, Answer]] = OrderedDict()
        self.made = 0
        """Answers made so far, because their data had changed or they were not kept."""

    def get(self, key: Hashable, state: Hashable, message: str, make: Callable[[], Row]) -> Answer:
        """Return the answer to a question; make it if its state has changed.

        Args:
            key: the question.
            state: determines the data, and becomes the answer's version.
            message: the envelope's message.
            make: returns the data.
        """
        kept = self._answers.get(key)
        if kept is not None and kept[0] == state:
            self._answers.move_to_end(key)
            return kept[1]
        answer = Answer(make(), message)
        self.made += 1
        self._answers[key] = state, answer
        self._answers.move_to_end(key)
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)
        return answer
