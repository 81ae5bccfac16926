"""Provides the OAUTHBEARER token from a file that another program renews."""

import asyncio

from aiokafka.abc import AbstractTokenProvider

from backpack_streams.credentials import SecretFile

__all__ = ["FileToken"]


class FileToken(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no type hints
    """Reads the token file each time Kafka's client asks for a token. `file` holds the last good contents."""

    def __init__(self, file: SecretFile) -> None:
        self._file = file

    async def token(self) -> str:
        """Return the token in the file; the last one read while the file is missing."""
        return (await asyncio.to_thread(self._file.read)).strip()
