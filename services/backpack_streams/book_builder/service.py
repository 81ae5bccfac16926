"""The entry point of book-builder."""

from backpack_streams.book_builder.builder import NAME, Builder
from backpack_streams.book_builder.settings import BookBuilderSettings
from backpack_streams.runtime.service import run_service


def main(settings: BookBuilderSettings) -> int:
    """Run the service until a signal arrives; returns the exit code."""
    return run_service(NAME, lambda: Builder(settings), settings, settings)
