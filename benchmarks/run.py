"""One run: takes all measurements on one embedded Kafka, prints each figure as soon as it is known, and returns all of them."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks import (
    all_streams,
    books,
    ccxt_side,
    cold_start,
    gateway,
    latency,
    order_flow,
    page,
    snapshots,
    steps,
    way_in,
    way_out,
)
from benchmarks.lab import BenchmarkError, Lab
from benchmarks.report import one, percent, show, table, times, two, whole

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """The extent of the measurements."""

    frames: int
    nine_level_deltas: int
    repetitions: int
    latency_seconds: float
    trade_frames: int
    ccxt_trade_frames: int
    ccxt_book_frames: int
    ccxt_seconds: float
    step_frames: int
    histories: tuple[int, ...]
    is_thorough: bool = True
    """Also measure what takes long and shows little more: Decimals of nine levels, ccxt's loop for all markets."""


FULL = Size(
    frames=105_000,
    nine_level_deltas=80_000,
    repetitions=3,
    latency_seconds=10,
    trade_frames=100_000,
    ccxt_trade_frames=12_000,
    ccxt_book_frames=3_000,
    ccxt_seconds=5,
    step_frames=20_000,
    histories=(10_000_000, 20_000_000),
)
QUICK = Size(
    frames=40_000,
    nine_level_deltas=10_000,
    repetitions=1,
    latency_seconds=3,
    trade_frames=20_000,
    ccxt_trade_frames=3_000,
    ccxt_book_frames=600,
    ccxt_seconds=1.5,
    step_frames=4_000,
    histories=(500_000, 1_000_000),
    is_thorough=False,
)
SOCKET_STEP_SHARE = 5
"""Factor of the frames through sockets, where fetching the first ones takes time."""
BOOK_ROUNDS_A_REPETITION = 3
PARTS = ("in", "out", "latency", "all", "ccxt", "steps", "cold", "books", "gateway", "page")
LINGERS_MS = (10, 50, 100)
_IN, _NINE, _LATENCY = "in.", "nine.", "latency."


async def run(lab: Lab, size: Size, parts: Collection[str]) -> Figures:
    """Take the measurements in `parts`, print their tables and return their figures."""
    figures: Figures = {}
    flow = order_flow.recorded_flow()
    if "in" in parts:
        figures["in"] = await _in(lab, size)
    if "out" in parts:
        figures["out"] = await _out(lab, size, flow)
    if "latency" in parts:
        figures["latency"] = await _latency(lab, size)
    if "all" in parts:
        figures["all"] = await _all(lab, size)
    if "ccxt" in parts:
        figures["ccxt"] = await _ccxt(lab, size)
        _side_by_side(figures)
    if "steps" in parts:
        figures["steps"] = await _steps(lab, size, flow)
    if "cold" in parts:
        figures["cold"] = await _cold(lab, size)
    if "books" in parts:
        figures["books"] = _books(lab, size, flow)
    if "gateway" in parts:
        figures["gateway"] = await _gateway(lab, size)
    if "page" in parts:
        figures["page"] = await _page(lab, size)
    return figures


async def _in(lab: Lab, size: Size) -> Figures:
    runs = {
        "depth": await way_in.measure(lab, _IN, "depth", size.frames, size.repetitions),
        "trade": await way_in.measure(lab, "trade.", "trade", size.trade_frames, 1),
    }
    rows = [
        [
            f"market-producer, {channel}, {run.speed.items:,} frames",
            whole(run.speed.rate),
            whole(run.speed.best_rate),
            one(run.speed.cpu_us),
            one(run.speed.best_cpu_us),
            whole(run.peak_mib),
            _verdict(run.problems),
        ]
        for channel, run in runs.items()
    ]
    heads = (
        "socket -> acknowledged record",
        "frames/s",
        "best",
        "CPU us/frame",
        "best",
        "peak MiB",
        "every frame once",
    )
    show(table(f"Into Kafka at full speed (median and best of {size.repetitions}; trade once)", heads, rows))
    return {
        channel: run.speed.figures() | {"peak_mib": run.peak_mib, "problems": run.problems}
        for channel, run in runs.items()
    }


async def _out(lab: Lab, size: Size, flow: order_flow.Flow) -> Figures:
    """Needs the records that `_in` has left in Kafka."""
    await snapshots.publish(lab, _IN, snapshots.empty_books())
    two_levels = await lab.records(_IN + snapshots.DEPTH)
    await snapshots.publish(lab, _NINE, flow.books)
    encode = lab.codec.encoder("DepthUpdate", _NINE + snapshots.DEPTH)
    lab.say(f"putting {size.nine_level_deltas:,} deltas of {flow.levels_a_delta:.1f} levels into Kafka")
    records = (
        (row["symbol"].encode(), encode(row), row["engine_time"] // 1000) for row in flow.rows(size.nine_level_deltas)
    )
    await lab.publish(_NINE + snapshots.DEPTH, records)
    plans = {
        "two levels, rounds(), integers": (_IN, "units", two_levels),
        "two levels, async for, Decimals": (_IN, "decimals", two_levels),
        "nine levels, rounds(), integers": (_NINE, "units", size.nine_level_deltas),
    }
    if size.is_thorough:
        plans["nine levels, async for, Decimals"] = (_NINE, "decimals", size.nine_level_deltas)
    runs = {
        name: await way_out.measure(lab, prefix, mode, deltas, size.repetitions if mode == "units" else 1)
        for name, (prefix, mode, deltas) in plans.items()
    }
    rows = [
        [
            name,
            whole(run.speed.items),
            whole(run.speed.rate),
            one(run.speed.cpu_us),
            one(run.speed.best_cpu_us),
            whole(run.levels_a_book),
            _verdict(run.problems),
        ]
        for name, run in runs.items()
    ]
    heads = (
        "Kafka -> books, best bid and ask read",
        "deltas",
        "deltas/s",
        "CPU us/delta",
        "best",
        "levels a book",
        "all live",
    )
    show(table(f"Out of Kafka at full speed (median and best of {size.repetitions}; Decimals once)", heads, rows))
    return {name: run.speed.figures() | {"problems": run.problems} for name, run in runs.items()}


async def _latency(lab: Lab, size: Size) -> Figures:
    found = await latency.measure(lab, _LATENCY, size.latency_seconds)
    heads = (
        "source -> Kafka -> BookStream",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "producer",
        "consumer",
        "complete",
    )
    row = [
        "market-producer and BookStream, depth",
        *(one(found.milliseconds[name]) for name in ("p50", "p99", "p99_9", "max")),
        percent(found.producer_share),
        percent(found.consumer_share),
        _verdict(found.problems),
    ]
    show(table(f"End to end at {latency.FRAMES_A_SECOND:,} frames/s (shares of one core)", heads, [row]))
    return asdict(found)


async def _all(lab: Lab, size: Size) -> Figures:
    loads = [
        await all_streams.measure(lab, f"all{linger_ms}.", size.latency_seconds, linger_ms) for linger_ms in LINGERS_MS
    ]
    rows = [
        [f"--linger-ms {load.linger_ms}", whole(load.records_a_second)]
        + [percent(share) for share in (*load.shares.values(), sum(load.shares.values()))]
        for load in loads
    ]
    heads = ("all default streams", "records/s", *all_streams.PRODUCERS, "together")
    title = f"Everything at average load: {all_streams.MARKETS} markets, {latency.FRAMES_A_SECOND:,} depth frames/s (shares of one core)"
    show(table(title, heads, rows))
    return {f"linger {load.linger_ms} ms": asdict(load) for load in loads}


async def _ccxt(lab: Lab, size: Size) -> Figures:
    if not ccxt_side.is_installed():
        show("\nccxt is not installed here: no figures of it (`make bench` installs it)")
        return {}
    average = int(size.ccxt_seconds * latency.FRAMES_A_SECOND)
    plans = {
        "trades": [
            ccxt_side.Load("watch_trades, full speed", size.ccxt_trade_frames, is_at_once=True),
            ccxt_side.Load("watch_trades, average load", average, is_at_once=False),
        ],
        "books": [ccxt_side.Load("watch_order_book, full speed", size.ccxt_book_frames, is_at_once=True)],
    }
    if size.is_thorough:
        plans["all_trades"] = [
            ccxt_side.Load("watch_trades_for_symbols, full speed", size.ccxt_trade_frames, is_at_once=True),
            ccxt_side.Load("watch_trades_for_symbols, average load", average, is_at_once=False),
        ]
    runs: dict[str, ccxt_side.CcxtRun] = {}
    for what, loads in plans.items():
        try:
            runs |= await ccxt_side.measure(lab, what, loads)
        except BenchmarkError as error:
            show(f"\nccxt's {what} cannot be measured against a local source: {error}")
    rows = [
        [
            name,
            whole(run.frames),
            whole(run.rate),
            one(run.cpu_us),
            percent(run.lost_share),
            *(one(run.latency_ms[p]) if run.latency_ms else "-" for p in ("p50", "p99")),
        ]
        for name, run in runs.items()
    ]
    heads = ("ccxt.pro + aiokafka, JSON", "frames", "frames/s", "CPU us/frame", "lost", "p50 ms", "p99 ms")
    average_load = f"average load = {latency.FRAMES_A_SECOND:,} frames/s"
    show(table(f"What one would write instead (once; {average_load})", heads, rows))
    show("Lost: frames that no record tells of; of books, updates that passed between two looks at the book.")
    return {name: run.figures() for name, run in runs.items()}


def _side_by_side(figures: Figures) -> None:
    """The ratios, if both sides were measured in this run."""
    ours, theirs, late = figures.get("in"), figures["ccxt"], figures.get("latency")
    rows = []
    for what, channel, name in (
        ("trades", "trade", "watch_trades, full speed"),
        ("depth", "depth", "watch_order_book, full speed"),
    ):
        if ours and name in theirs:
            mine, other = ours[channel], theirs[name]
            rate, cpu = mine["rate_median"] / other["rate"], other["cpu_us"] / mine["cpu_us_median"]
            rows.append([f"frames/s, {what}", whole(mine["rate_median"]), whole(other["rate"]), times(rate)])
            rows.append([f"CPU us a frame, {what}", one(mine["cpu_us_median"]), one(other["cpu_us"]), times(cpu)])
            rows.append(
                [
                    f"frames lost, {what}",
                    _lost(mine["problems"]),
                    percent(other["lost_share"]),
                    "",
                ]
            )
    average = theirs.get("watch_trades, average load")
    if late and average and average["latency_ms"]:
        for name in ("p50", "p99"):
            mine, other = late["milliseconds"][name], average["latency_ms"][name]
            rows.append(
                [f"latency {name} ms at average load, depth | trades", one(mine), one(other), times(other / mine)]
            )
        rows.append(
            ["frames lost at average load, depth | trades", _lost(late["problems"]), percent(average["lost_share"]), ""]
        )
    if rows:
        show(table("Side by side", ("", "backpack-streams", "ccxt.pro + aiokafka", "better by"), rows))


def _lost(problems: Collection[str]) -> str:
    return "INVALID" if problems else percent(0.0)


async def _steps(lab: Lab, size: Size, flow: order_flow.Flow) -> Figures:
    lab.say(f"steps by themselves, {size.step_frames:,} frames each")
    found = [
        *await steps.with_sockets(lab, SOCKET_STEP_SHARE * size.step_frames),
        *steps.in_memory(size.step_frames, flow),
    ]
    print(
        table("Step by step (best of a few)", ("step", "CPU us"), [[step.name, f"{step.cpu_us:.2f}"] for step in found])
    )
    return {step.name: step.cpu_us for step in found}


async def _cold(lab: Lab, size: Size) -> Figures:
    runs = await cold_start.measure(lab, "cold.", size.histories, size.repetitions)
    rows = [
        [
            f"{run.history:,} updates in Kafka",
            two(median(run.seconds)),
            two(max(run.seconds)),
            two(run.joined_seconds),
            whole(run.caught_up_with),
            one(run.replay_seconds),
            _verdict(run.problems),
        ]
        for run in runs
    ]
    heads = (
        "nothing -> 91 books LIVE",
        "seconds",
        "worst",
        "of it joining",
        "updates read",
        "plain replay s",
        "books right",
    )
    show(table(f"Cold start of a BookStream (median and worst of {size.repetitions})", heads, rows))
    show(
        "Plain replay: an aiokafka consumer reading the same history from its beginning, decoding nothing, at its pace over a sample."
    )
    return {f"{run.history} updates": run.figures() for run in runs}


def _books(lab: Lab, size: Size, flow: order_flow.Flow) -> Figures:
    found = books.measure(flow, BOOK_ROUNDS_A_REPETITION * size.repetitions, lab.say)
    rows = [[run.name, two(run.best_cpu_us), two(median(run.cpu_us))] for run in found]
    rows += [[name, "not installed", ""] for name in books.missing()]
    title = f"The same updates into order books, {flow.levels_a_delta:.1f} levels each, best bid and ask read"
    show(table(title, ("recorded order flow", "CPU us/update, best", "median"), rows))
    return {run.name: {"cpu_us_best": run.best_cpu_us, "cpu_us_median": median(run.cpu_us)} for run in found}


async def _gateway(lab: Lab, size: Size) -> Figures:
    found = await gateway.measure(lab, "gateway.", size.latency_seconds)
    show(found.tables())
    return found.figures()


async def _page(lab: Lab, size: Size) -> Figures:
    found = await page.measure(lab, "page.", size.latency_seconds)
    show(found.tables())
    return found.pages


def _verdict(problems: Collection[str]) -> str:
    return "INVALID: " + "; ".join(problems) if problems else "yes"
