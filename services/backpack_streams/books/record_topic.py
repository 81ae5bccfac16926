"""A topic name that carries the type of its records. `backpack_streams.books.records` has one for every topic."""

from typing import Generic, TypeVar

__all__ = ["RecordTopic"]

Value = TypeVar("Value")


class RecordTopic(str, Generic[Value]):
    """The name of a topic, without the prefix; `Value` is the type of its record values for type checkers."""

    __slots__ = ()
