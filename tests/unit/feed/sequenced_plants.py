"""Plants with streams sequenced by ids, and what they have published."""

from typing import Any

from unit.feed.recorded_queues import (
    Plant,
    depth_frame,
)

SECOND = 1_000_000


def depth_ids(plant: Plant, topic: str = "market.depth") -> list[tuple[int, int]]:
    return [(row["first_update_id"], row["last_update_id"]) for row in plant.partition_queues.of(topic)]


def trade_ids(plant: Plant) -> list[int]:
    return [row["trade_id"] for row in plant.partition_queues.of("market.trade")]


def gaps(plant: Plant) -> list[tuple[str, int | None, int | None]]:
    return [(gap["reason"], gap["last_id"], gap["next_id"]) for gap in plant.partition_queues.gaps]


def sequenced(*ids: int, sockets: int = 1, resumed: int | None = None) -> Plant:
    """A depth stream that has delivered these ids, one per frame; engine time is one second per id. With `resumed`, the end of an earlier
    run is known, and nobody covered the stream from then until second 8."""
    if resumed is not None:
        plant = Plant(["depth.X"], 0)
        plant.feed("depth.X").resume(resumed, resumed * SECOND)
        plant.coverage.resume({"depth.X": resumed * SECOND})
        for socket in range(sockets):
            plant.cover(socket, at=8.0)
    else:
        plant = begun(depth_frame(ids[0], ids[0], ids[0] * SECOND), sockets, ids[0] * SECOND)
        ids = ids[1:]
    bring(plant, *ids)
    return plant


def begun(first: dict[str, Any], sockets: int, at_us: int) -> Plant:
    """A stream whose first message came while only one socket was up, so that it waited for no other."""
    plant = Plant([first["stream"]])
    plant.send(first, 0, at_us)
    for socket in range(1, sockets):
        plant.cover(socket)
    return plant


def bring(plant: Plant, *ids: int, socket: int = 0) -> None:
    for each in ids:
        plant.send(depth_frame(each, each, each * SECOND), socket, each * SECOND)
