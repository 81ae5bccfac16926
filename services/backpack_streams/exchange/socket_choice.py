"""Chooses the WebSocket library: picows if it is installed, else `websockets`, which runs wherever Python does."""

from backpack_streams.exchange.exchange_socket import ExchangeSocket


def socket_class() -> type[ExchangeSocket]:
    """Return the class of sockets to the exchange."""
    try:
        from backpack_streams.exchange.picows_socket import PicowsSocket
    except ModuleNotFoundError as error:
        if error.name != "picows":
            raise
        from backpack_streams.exchange.websockets_socket import WebsocketsSocket

        return WebsocketsSocket
    return PicowsSocket
