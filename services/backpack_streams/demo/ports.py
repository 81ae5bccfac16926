"""The demo's ports: all are checked before anything is started."""

from dataclasses import dataclass

from backpack_streams.demo.errors import PortInUseError
from backpack_streams.demo.settings import DemoSettings
from embedded_kafka import registry_url
from embedded_kafka.ports import free_ports, port_is_free

__all__ = ["HOST", "DemoPorts", "claim_ports"]

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class DemoPorts:
    """The loopback ports of the demo's programs. Those of the sandbox and the registry are None if they do not run."""

    kafka: int
    gateway: int | None = None
    ws: int | None = None
    rest: int | None = None
    control: int | None = None
    registry: int | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Kafka's address."""
        return f"{HOST}:{self.kafka}"

    @property
    def registry_url(self) -> str | None:
        """The schema registry's URL in the form that services take; None without a registry."""
        return None if self.registry is None else registry_url(HOST, self.registry)

    @property
    def page_url(self) -> str:
        """URL of the live page."""
        return f"http://{HOST}:{self.gateway}/"

    @property
    def ws_url(self) -> str:
        """URL of the sandbox's WebSocket."""
        return f"ws://{HOST}:{self.ws}"

    @property
    def rest_url(self) -> str:
        """URL of the sandbox's REST API."""
        return f"http://{HOST}:{self.rest}"

    @property
    def control_url(self) -> str:
        """URL of the sandbox's control API."""
        return f"http://{HOST}:{self.control}"


def claim_ports(settings: DemoSettings) -> DemoPorts:
    """Return the ports as set, free ones for those set to 0. No port is held: another program may still take one.

    Raises:
        PortInUseError: a port is taken; the message names it and its flag.
        EmbeddedError: no free port can be found.
    """
    wanted = {"kafka": settings.kafka_port, "gateway": settings.gateway_port}
    if not settings.live:
        wanted |= {"ws": settings.ws_port, "rest": settings.rest_port, "control": settings.control_port}
    if settings.registry:
        wanted["registry"] = settings.registry_port
    for name, port in wanted.items():
        if port and not port_is_free(HOST, port):
            raise PortInUseError(
                f"port {port} on {HOST} is in use by another program (or not allowed): stop that one, "
                f"or choose another port with --{name}-port (0 takes a free one)"
            )
    open_names = [name for name, port in wanted.items() if not port]
    free = free_ports(len(open_names), HOST, besides=wanted.values())
    return DemoPorts(**(wanted | dict(zip(open_names, free, strict=True))))
