"""Settings of the sockets: how to connect, and how often to check for silent streams."""

from dataclasses import dataclass, field

from backpack_streams import __version__
from backpack_streams.errors import UsageError
from backpack_streams.exchange.network_settings import NetworkSettings

_MIB_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Bounds and times of the sockets. All times are seconds.

    Raises:
        UsageError: a number is not above 0, or the read interval is negative.
    """

    connect_timeout_seconds: float = 10.0
    """Limit until the WebSocket is open: name resolution, TCP, proxy, TLS and handshake together."""
    address_delay_seconds: float = 0.25
    """If one address of a name has not answered after this time, the next one is tried in parallel (RFC 8305, section 5)."""
    max_message_bytes: int = 4 * _MIB_BYTES
    """A security limit on one frame, and on all fragments of one message together."""
    read_buffer_bytes: int = 256 * 1024
    """Size of a socket's read buffer, which limits a single read."""
    read_interval_seconds: float = 0.0
    """The read throttle: how long a socket is left unread after a read, so that the next read takes more; 0 reads data on arrival.

    After a read that filled a quarter of the buffer or more, the next one follows at once.
    """
    drop_after_close_seconds: float = 1.0
    """How long sending our Close frame may take before the socket is cut."""
    stop_timeout_seconds: float = 2.0
    """How long closing the sockets may take at the end before they are cut."""
    silence_check_seconds: float = 1.0
    """Time between two checks for silent streams."""
    user_agent: str = f"backpack-streams/{__version__}"
    network: NetworkSettings = field(default_factory=NetworkSettings)

    def __post_init__(self) -> None:
        for name in (
            "connect_timeout_seconds",
            "address_delay_seconds",
            "max_message_bytes",
            "read_buffer_bytes",
            "drop_after_close_seconds",
            "stop_timeout_seconds",
            "silence_check_seconds",
        ):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; give a number above 0")
        if self.read_interval_seconds < 0:
            raise UsageError(f"read_interval_seconds is {self.read_interval_seconds}; give 0 or more")
