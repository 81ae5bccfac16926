"""A process with many WebSocket subscribers of one book; prints the ages of their updates on arrival, as one line of JSON."""

import argparse
import asyncio
import contextlib
import json
import re
import time
from array import array

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from backpack_streams.runtime.loop import loop_factory
from benchmarks.frames import markets
from benchmarks.http_load import Writing
from benchmarks.numbers import latencies_ms

_AT_ONCE = 50
_SEQUENCE = re.compile(rb'"type": ?"update".*?"sequence": ?(\d+)')


class Subscriber(WSListener):
    """One client that reads only the last id of each update."""

    def __init__(self, run: "Run") -> None:
        super().__init__()
        self._run = run
        self.last = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Subscribe."""
        transport.send(WSMsgType.TEXT, self._run.request)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Record an update's age."""
        found = _SEQUENCE.search(frame.get_payload_as_bytes())
        if found is not None:
            is_first = not self.last
            self.last = int(found[1])
            self._run.took(self.last, is_first)


class Run:
    """The shared state of all subscribers."""

    def __init__(self, market: int, writing: Writing, subscribers: int) -> None:
        symbol = markets()[market].symbol
        self.request = json.dumps({"op": "subscribe", "channels": ["book"], "symbols": [symbol], "depth": 20}).encode()
        self._market = market
        self._writing = writing
        self.is_counting = False
        self.ages_us = array("q")
        self.all_have_begun = asyncio.Event()
        self._to_begin = subscribers

    def took(self, sequence: int, is_first: bool) -> None:
        """Record how long ago the source wrote the newest frame in an update."""
        self._to_begin -= is_first
        if not self._to_begin:
            self.all_have_begun.set()
        written = self._writing.written(self._market, sequence)
        if self.is_counting and written is not None:
            self.ages_us.append(int((time.time() - written) * 1e6))


async def _run(arguments: argparse.Namespace) -> dict[str, object]:
    run = Run(
        arguments.market, Writing(arguments.started, arguments.first, arguments.frame_rate), arguments.subscribers
    )
    url = f"ws://127.0.0.1:{arguments.port}/v1/stream"
    subscribers: list[Subscriber] = []
    transports: list[WSTransport] = []

    def subscriber() -> Subscriber:
        subscribers.append(Subscriber(run))
        return subscribers[-1]

    while len(transports) < arguments.subscribers:
        some = min(_AT_ONCE, arguments.subscribers - len(transports))
        opened = await asyncio.gather(*(ws_connect(subscriber, url) for _ in range(some)))
        transports += [transport for transport, _ in opened]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(run.all_have_begun.wait(), arguments.patience)
    run.is_counting = True
    await asyncio.sleep(arguments.seconds)
    run.is_counting = False
    newest = max(each.last for each in subscribers)
    for transport in transports:
        transport.disconnect()
    return {
        "subscribers": sum(bool(each.last) for each in subscribers),
        "updates_a_second": len(run.ages_us) / arguments.seconds,
        "behind_the_newest": max(newest - each.last for each in subscribers),
        "age_ms": latencies_ms(run.ages_us),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--market", type=int, default=0)
    parser.add_argument("--subscribers", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--patience", type=float, default=30.0, help="seconds until all have been given an update")
    parser.add_argument("--started", type=float, required=True, help="when the source began (wall clock, seconds)")
    parser.add_argument("--first", type=int, required=True, help="the frame it began with")
    parser.add_argument("--frame-rate", type=float, required=True)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        print(json.dumps(runner.run(_run(parser.parse_args()))))


if __name__ == "__main__":
    main()
