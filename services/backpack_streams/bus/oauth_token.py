"""The OAUTHBEARER token that lies in a file, which something else renews."""

import asyncio
from pathlib import Path

from aiokafka.abc import AbstractTokenProvider

from backpack_streams.errors import UsageError

__all__ = ["FileToken"]


class FileToken(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no type hints
    """Reads the token anew whenever Kafka's client asks for one."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def token(self) -> str:
        """The token as it stands in the file now."""
        try:
            return (await asyncio.to_thread(self._file.read_text)).strip()
        except OSError as error:
            raise UsageError(f"the OAuth token file {self._file} cannot be read ({error.strerror})") from error
