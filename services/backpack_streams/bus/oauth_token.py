"""The OAUTHBEARER token that lies in a file, which something else renews."""

import asyncio

from aiokafka.abc import AbstractTokenProvider

from backpack_streams.credentials import SecretFile

__all__ = ["FileToken"]


class FileToken(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no type hints
    """Reads the token anew whenever Kafka's client asks for one."""

    def __init__(self, file: SecretFile) -> None:
        self._file = file

    async def token(self) -> str:
        """The token as it stands in the file now; the last one while the file is away."""
        return (await asyncio.to_thread(self._file.read)).strip()
