"""How the WebSocket shell connects, and how often it checks its streams."""

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
    """For everything until the WebSocket is open: name resolution, TCP, proxy, TLS and handshake together."""
    address_delay_seconds: float = 0.25
    """Without an answer from one address for this long, the next one is tried as well (RFC 8305, section 5)."""
    max_message_bytes: int = 4 * _MIB_BYTES
    """A security limit, on one frame and on all fragments of one message together."""
    read_buffer_bytes: int = 256 * 1024
    """The first size of a socket's read buffer; the most that one read can take."""
    read_interval_seconds: float = 0.0
    """How long a socket is not read after a read, so that the next one takes more; 0 reads everything on arrival.

    After a read that filled a good part of the buffer, the next one follows at once.
    """
    drop_after_close_seconds: float = 1.0
    """How long our Close may take to be sent before the socket is cut."""
    stop_timeout_seconds: float = 2.0
    silence_check_seconds: float = 1.0
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
