"""The schedule of a campaign: a pure function of its seed. The same seed gives the same faults at the same moments."""

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from faults.campaign.markets import BUSY, CLOSES, FALLS_SILENT, SLOW

SERVICES = ("market-producer", "perp-producer", "rest-poller", "book-builder")
GATEWAY = "gateway"
"""It runs in every campaign, and its faults are drawn separately."""
SECOND = "market-producer-2"
"""The second instance of the market-producer's one shard, in campaigns that double it."""

TOPIC_FAULTS = frozenset({"topic-recreated", "partitions-added"})
PLATFORM_FAULTS = frozenset({"addresses-moved", "certificates-rotated", "compression-changed", "proxy-cut"})
_DOUBLED_OF_TEN = 4
_MEAN_PAUSE_SECONDS = 5.0
_SHORTEST_PAUSE_SECONDS = 0.7
_EARLY_SECONDS = 30.0
_LOOK_SECONDS = 12.0
# Two brokers down at once would leave too few in-sync replicas, and a restarted one needs a while to be in sync again.
_BETWEEN_BROKER_FAULTS_SECONDS = 25.0
_FIRST_BROKER_FAULT_SECONDS = 12.0

_BETWEEN_GATEWAY_FAULTS_SECONDS = 30.0
_GATEWAY_FAULTS = ("kill", "kill-twice", "terminate", "freeze")

Options = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at` seconds after the start of the services, over (healed, ended, restarted) after `lasts` seconds."""

    at: float
    kind: str
    lasts: float
    options: Options = field(default_factory=dict)

    def __str__(self) -> str:
        options = " ".join(f"{key}={value}" for key, value in self.options.items())
        return f"+{self.at:.1f} s {self.kind} for {self.lasts:.1f} s {options}".rstrip()


@dataclass(frozen=True, slots=True)
class Schedule:
    """The events of a campaign. `looks`: when `book all --once` runs."""

    seed: int
    seconds: float
    doubled: bool
    faults: tuple[Fault, ...]
    looks: tuple[float, ...]

    @property
    def services(self) -> tuple[str, ...]:
        """The running services."""
        return (*SERVICES, SECOND, GATEWAY) if self.doubled else (*SERVICES, GATEWAY)

    @property
    def is_of_platform(self) -> bool:
        """Whether the plant needs the surroundings for platform faults."""
        return any(each.kind in PLATFORM_FAULTS for each in self.faults)

    def count(self, kind: str) -> int:
        """The number of faults of a kind."""
        return sum(each.kind == kind for each in self.faults)

    def before(self, seconds: float, within: float) -> list[Fault]:
        """Faults that began, continued or ended in a time before a moment."""
        return [each for each in self.faults if each.at <= seconds + 1 and seconds - within <= each.at + each.lasts]


class _Dice:
    """Random choices of one campaign, and the markets left for them."""

    def __init__(self, numbers: random.Random, services: tuple[str, ...]) -> None:
        self._numbers = numbers
        self._services = services
        self.silent = list(FALLS_SILENT)
        self.closing = list(CLOSES)
        numbers.shuffle(self.silent)
        numbers.shuffle(self.closing)

    def seconds(self, least: float, most: float) -> float:
        return round(self._numbers.uniform(least, most), 1)

    def service(self) -> str:
        # Half of all faults of services hit the producer that everything depends on.
        return self._numbers.choice([*self._services, *(each for each in self._services if "market" in each)])

    def of(self, *choices: Any) -> Any:
        return self._numbers.choice(choices)

    def count(self, least: int, most: int) -> int:
        return self._numbers.randint(least, most)

    def symbol(self) -> str:
        return str(self._numbers.choice([*BUSY, *SLOW]))


Drawn = tuple[float, Options]
"""The duration of a fault, and its options."""


def _kill(dice: _Dice) -> Drawn:
    down = dice.seconds(1, 8)
    return down, {"service": dice.service(), "down": down}


def _kill_twice(dice: _Dice) -> Drawn:
    down, again, then = dice.seconds(1, 4), dice.seconds(1, 10), dice.seconds(1, 6)
    return down + again + then, {"service": dice.service(), "down": down, "again_after": again, "then_down": then}


def _freeze(dice: _Dice) -> Drawn:
    lasts = dice.seconds(5, 20)
    return lasts, {"service": dice.service()}


def _silence(dice: _Dice, lasts: float) -> Drawn:
    return lasts, {"symbol": dice.silent.pop(), "moves": dice.count(30, 400), "down": lasts}


def _ignore_one(dice: _Dice) -> Drawn:
    kind = dice.of("depth", "trade", "ticker", "depth")
    return dice.seconds(4, 12), {"stream": f"{kind}.{dice.symbol()}"}


def _error(dice: _Dice) -> Drawn:
    answer = dice.of(
        {"code": 5000, "message": "Internal error"},
        {"code": 4006, "message": "Invalid stream"},
        {"code": 4002, "message": "Parse error"},
        {"kind": "text", "message": "Bad gateway"},
    )
    return dice.seconds(4, 15), {**answer, "refuse": dice.of(True, False)}


def _closing(dice: _Dice, *, relisted: bool, gone: bool) -> Drawn:
    away = dice.seconds(8, 20)
    comes_back = relisted or bool(dice.of(True, False))
    return away, {"symbol": dice.closing.pop(), "gone": gone, "comes_back": comes_back, "from_one": relisted}


def _moving(dice: _Dice) -> Drawn:
    kill, old = bool(dice.of(True, False)), dice.of("refuses", "silent")
    return dice.seconds(2, 8), {"broker": dice.count(0, 2), "kill": kill, "old": old}


def _rotation(dice: _Dice) -> Drawn:
    first = dice.of("certificate", "key")
    return dice.seconds(12, 30), {"broker": dice.count(0, 2), "first": first, "broker_after": dice.seconds(1, 4)}


def _compression(dice: _Dice) -> Drawn:
    topics = "market.depth", "market.trade", "market.book_snapshot", "perp.mark_price", "ops.watermark", "ops.gap"
    return dice.seconds(8, 25), {"topic": dice.of(*topics), "codec": dice.of("zstd", "lz4", "snappy")}


_DRAW: dict[str, tuple[float, Callable[[_Dice], Drawn]]] = {
    "kill": (8, _kill),
    "kill-twice": (5, _kill_twice),
    "terminate": (5, _kill),
    "freeze": (5, _freeze),
    "kill-and-silence": (5, lambda dice: _silence(dice, dice.seconds(2, 8))),
    "refuse-and-silence": (2, lambda dice: _silence(dice, dice.seconds(3, 14))),
    "ignore-and-silence": (2, lambda dice: _silence(dice, dice.seconds(4, 10))),
    "cut": (4, lambda dice: (0.0, {"count": dice.of(1, 100)})),
    "close": (3, lambda dice: (6.0, {"count": dice.of(1, 100)})),
    "half-open": (4, lambda dice: (dice.seconds(2, 10), {"count": dice.of(1, 100), "on": dice.of("open", "both")})),
    "ignore-one": (3, _ignore_one),
    "ignore-all": (2, lambda dice: (dice.seconds(3, 10), {})),
    "error-frames": (4, _error),
    "sockets-refused": (2, lambda dice: (dice.seconds(2, 12), {})),
    "markets-empty": (2, lambda dice: (dice.seconds(6, 12), {})),
    "markets-partial": (2, lambda dice: (dice.seconds(6, 12), {"rows": dice.count(1, 6)})),
    "markets-old": (2, lambda dice: (dice.seconds(6, 12), {"age": dice.of(700, 7000)})),
    "markets-unreadable": (
        2,
        lambda dice: (dice.seconds(6, 12), {"kind": dice.of("state", "filters", "symbol"), "rows": dice.count(1, 5)}),
    ),
    "markets-refused": (2, lambda dice: (dice.seconds(6, 12), {"kind": dice.of("PERP", "SPOT", "PREDICTION")})),
    "market-closed": (1, lambda dice: _closing(dice, relisted=False, gone=False)),
    "market-gone": (1, lambda dice: _closing(dice, relisted=False, gone=True)),
    "market-relisted": (1.5, lambda dice: _closing(dice, relisted=True, gone=False)),
    "rest-5xx": (2, lambda dice: (dice.seconds(3, 15), {"status": dice.of(500, 502, 503)})),
    "rest-429": (2, lambda dice: (dice.seconds(3, 10), {"retry_after": dice.of(1, 3, 8)})),
    "rest-403": (1, lambda dice: (dice.seconds(3, 10), {"retry_after": dice.of(1, 3, 8)})),
    "rest-slow": (1, lambda dice: (dice.seconds(5, 15), {"delay": dice.seconds(1, 8)})),
    "rest-cut": (1, lambda dice: (dice.seconds(3, 10), {})),
    "rest-old": (1, lambda dice: (dice.seconds(5, 15), {"updates": dice.count(20, 300)})),
    "broker-killed": (2, lambda dice: (dice.seconds(4, 10), {"broker": dice.count(0, 2)})),
    "broker-frozen": (2, lambda dice: (dice.seconds(5, 15), {"broker": dice.count(0, 2)})),
    "leader-moved": (2, lambda dice: (dice.seconds(3, 6), {"broker": dice.count(0, 2)})),
    "clock-stepped": (2, lambda dice: (dice.seconds(8, 20), {"service": dice.service(), "by": dice.of(3600, -3600)})),
    "topic-recreated": (1, lambda dice: (3.0, {"topic": dice.of("market.trade", "market.ticker")})),
    "partitions-added": (1, lambda dice: (1.0, {"topic": dice.of("market.depth", "market.trade")})),
    "addresses-moved": (5, _moving),
    "certificates-rotated": (5, _rotation),
    "compression-changed": (5, _compression),
    "proxy-cut": (6, lambda dice: (dice.seconds(3, 12), {"how": dice.of("killed", "hangs", "hangs-and-dies")})),
}

KINDS = frozenset(_DRAW)
"""Every kind of fault."""

_BROKER_FAULTS = (
    frozenset({"broker-killed", "broker-frozen", "leader-moved", "addresses-moved", "certificates-rotated"})
    | TOPIC_FAULTS
)


def schedule(
    seed: int,
    seconds: float,
    *,
    with_topic_faults: bool = False,
    with_platform_faults: bool = False,
    kinds: Collection[str] | None = None,
    doubled: bool | None = None,
    struck: Collection[str] | None = None,
) -> Schedule:
    """Draw the faults of a campaign of a duration.

    Args:
        seed: decides everything.
        seconds: the duration; all faults are over by then.
        with_topic_faults: whether topics are recreated and partitions added.
        with_platform_faults: whether brokers move, certificates are rotated, topics compressed and the proxy cut.
        kinds: only these kinds of fault.
        doubled: whether two market-producers share their one shard; None: the seed decides.
        struck: only these services have faults; None: all that run.

    Raises:
        ValueError: a kind does not exist.
    """
    unknown = set(kinds or ()) - KINDS
    if unknown:
        raise ValueError(f"there is no fault {sorted(unknown)[0]!r}; there are: {', '.join(sorted(KINDS))}")
    numbers = random.Random(seed)
    drawn_doubled = numbers.randrange(10) < _DOUBLED_OF_TEN
    is_doubled = drawn_doubled if doubled is None else doubled
    running = (*SERVICES, SECOND) if is_doubled else SERVICES
    dice = _Dice(numbers, tuple(each for each in running if struck is None or each in struck))
    allowed = [each for each in _DRAW if (kinds is None or each in kinds)]
    left_out = (frozenset() if with_topic_faults else TOPIC_FAULTS) | (
        frozenset() if with_platform_faults else PLATFORM_FAULTS
    )
    allowed = [each for each in allowed if each not in left_out]
    faults: list[Fault] = []
    at, broker_free_at = dice.seconds(1, 8), _FIRST_BROKER_FAULT_SECONDS
    while at < seconds:
        early = [each for each in ("kill", "kill-twice", "terminate", "freeze") if each in allowed]
        is_first = not faults and at < _EARLY_SECONDS
        open_to = early if is_first and early else [k for k in allowed if _possible(k, dice, at >= broker_free_at)]
        if not open_to:
            break
        kind = numbers.choices(open_to, [_DRAW[each][0] for each in open_to])[0]
        lasts, options = _DRAW[kind][1](dice)
        if at + lasts <= seconds:
            faults.append(Fault(round(at, 1), kind, lasts, options))
            if kind in _BROKER_FAULTS:
                broker_free_at = at + lasts + _BETWEEN_BROKER_FAULTS_SECONDS
        at += max(_SHORTEST_PAUSE_SECONDS, numbers.expovariate(1 / _MEAN_PAUSE_SECONDS))
    if struck is None or GATEWAY in struck:
        faults += _of_the_gateway(seed, seconds, [each for each in _GATEWAY_FAULTS if each in allowed])
        faults.sort(key=lambda fault: fault.at)
    looks = tuple(round(start + numbers.uniform(0, _LOOK_SECONDS), 1) for start in _looks(seconds))
    return Schedule(seed, seconds, is_doubled, tuple(faults), looks)


def _of_the_gateway(seed: int, seconds: float, kinds: Sequence[str]) -> Iterator[Fault]:
    """With separate random numbers, so that the other faults of a seed do not depend on the gateway."""
    numbers = random.Random(f"gateway of {seed}")
    dice = _Dice(numbers, (GATEWAY,))
    at = dice.seconds(3, 15)
    while kinds and at < seconds:
        kind = numbers.choice(kinds)
        lasts, options = _DRAW[kind][1](dice)
        if at + lasts <= seconds:
            yield Fault(at, kind, lasts, options)
        at = round(at + lasts + dice.seconds(5, 2 * _BETWEEN_GATEWAY_FAULTS_SECONDS), 1)


def _possible(kind: str, dice: _Dice, broker_is_free: bool) -> bool:
    if kind.endswith("-and-silence"):
        return bool(dice.silent)
    if kind.startswith("market-"):
        return bool(dice.closing)
    return broker_is_free or kind not in _BROKER_FAULTS


def _looks(seconds: float) -> list[float]:
    return [_LOOK_SECONDS * number for number in range(1, int(seconds / _LOOK_SECONDS))]
