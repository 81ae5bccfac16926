"""The sandbox command prints its addresses, and ends cleanly on SIGTERM."""

import asyncio
import os
import re
import signal

import httpx
import pytest
from websockets.asyncio.client import connect

from backpack_sandbox.command import run_sandbox
from backpack_sandbox.settings import SandboxSettings
from backpack_streams.errors import UsageError


async def test_ready_line_and_sigterm():
    lines: list[str] = []
    settings = SandboxSettings(ws_port=0, rest_port=0, control_port=0)
    task = asyncio.create_task(run_sandbox(settings, lines.append))
    async with asyncio.timeout(20):
        while not lines:  # noqa: ASYNC110  # the line is appended by a plain callback
            await asyncio.sleep(0.01)
        found = re.fullmatch(r"ready (ws://\S+) (http://\S+) control (http://\S+)", lines[0])
        assert found
        async with httpx.AsyncClient() as api, connect(found[1]):
            assert (await api.get(f"{found[2]}/api/v1/ping")).text == "pong"
            assert (await api.get(f"{found[3]}/state")).json()["mode"] == "synthetic"
            os.kill(os.getpid(), signal.SIGTERM)
            await task
            with pytest.raises(httpx.ConnectError):
                await api.get(f"{found[3]}/state")
    assert len(lines) == 1


async def test_a_missing_recording_is_reported(tmp_path):
    with pytest.raises(UsageError, match="there is no recording"):
        await run_sandbox(SandboxSettings(recording=tmp_path / "none.bpr"), lambda line: None)
