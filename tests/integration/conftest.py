"""Runs the WebSocket tests on both WebSocket libraries."""

import pytest

from backpack_streams.exchange.exchange_socket import ExchangeSocket
from backpack_streams.exchange.picows_socket import PicowsSocket
from backpack_streams.exchange.websockets_socket import WebsocketsSocket


@pytest.fixture(params=[PicowsSocket, WebsocketsSocket], ids=["picows", "websockets"])
def socket_class(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[ExchangeSocket]:
    """The socket class of every connection in this test."""
    chosen: type[ExchangeSocket] = request.param
    monkeypatch.setattr("backpack_streams.exchange.exchange_sockets.socket_class", lambda: chosen)
    return chosen
