"""The command `registry`: only an embedded schema registry."""

from functools import partial

from backpack_streams.cli.settings import EmbeddedRegistrySettings
from backpack_streams.embedded.command import run_until_signal
from backpack_streams.embedded.registry import EmbeddedRegistry

_print_line = partial(print, flush=True)


async def run(settings: EmbeddedRegistrySettings) -> None:
    """Start, print `ready URL` once the registry answers, run until a signal, then stop it cleanly.

    Raises:
        EmbeddedError: it cannot be started, or it ended unexpectedly.
    """
    registry = EmbeddedRegistry(settings.data_dir, settings.port, announce=_print_line)

    async def serve() -> None:
        await registry.start()
        _print_line(f"ready {registry.url}")
        await registry.wait()

    await run_until_signal(serve(), registry.stop)
