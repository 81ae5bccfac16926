"""The REST API's other catalogues: collateral, lending, prediction events, sessions, securities, vaults, wallets, status.

Generated from seed and time: constant within a round, slightly different in the next one, at times with an entry more or less.
"""

import zlib
from collections.abc import Callable
from typing import Any

from backpack_sandbox.decimals import trimmed
from backpack_sandbox.intervals import naive_iso
from backpack_sandbox.past import mixed
from backpack_sandbox.stocks import SECURITIES, SESSION
from backpack_sandbox.venue import Venue

Row = dict[str, Any]

STEP_SECONDS = {"1d": 3_600, "1w": 21_600, "1month": 86_400, "1year": 604_800}
"""Seconds between two rows of a history, by its interval."""
_ROWS = {"1d": 24, "1w": 28, "1month": 30, "1year": 52}
_RATE_PLACES = 28
_QUANTITY_PLACES = 8
_TAGS = (("sports", "Sports"), ("football", "Football"), ("crypto", "Crypto"), ("weather", "Weather"))
_WALLETS = (
    ("Solana", "43DbAvKxhXh1oSxkJSqGosNw3HpBnmsWiak6tB5wpecN"),
    ("Ethereum", "0x00000000000000000000000000000000000beefa"),
    ("Base", "0x00000000000000000000000000000000000beefa"),
    ("Bitcoin", "bc1qexampleexampleexampleexampleexamplexxx"),
)


class Catalogues:
    """Answers for the catalogues, as rows of the REST API.

    Args:
        venue: the markets, from which the lent assets and the prediction events follow.
        seed: determines every figure.
        round_seconds: how long the figures stay constant.
        now_us: returns the wall clock, µs since the Unix epoch.
    """

    def __init__(self, venue: Venue, seed: int, round_seconds: float, now_us: Callable[[], int]) -> None:
        self._venue = venue
        self._seed = seed
        self._round_us = max(1, int(round_seconds * 1_000_000))
        self._now_us = now_us

    def _round(self) -> int:
        return self._now_us() // self._round_us

    def _number(self, name: str, at: int) -> int:
        return mixed(self._seed ^ zlib.crc32(name.encode()), at)

    def _rate(self, name: str, at: int) -> str:
        """Return a fraction from 0.01 to 0.9 with 28 places."""
        unit = 10**_RATE_PLACES
        noise = self._number(name, at) << 64 | self._number(f"{name}, its last places", at)
        return trimmed(unit // 100 + noise % (unit * 89 // 100), _RATE_PLACES)

    def _quantity(self, name: str, at: int) -> str:
        return trimmed(10**12 + self._number(name, at) % 10**14, _QUANTITY_PLACES)

    def assets(self) -> list[str]:
        """Return the assets that are lent: the base assets of spot markets, and USDC."""
        spot = [listing.base for listing in self._venue.listings() if listing.market_type == "SPOT"]
        return [*dict.fromkeys(spot), "USDC"]

    def collateral(self) -> list[Row]:
        """Return `/collateral`: the weight of the first asset changes each round, and every second asset has a curve."""
        rows = []
        for place, symbol in enumerate(self.assets()):
            curve = {"type": "inverseSqrt", "base": "1.1", "positiveCurvePenalty": "0.000048"}
            weight = trimmed(90 + self._round() % 9, 2) if place == 0 else "0.9"
            rows.append(
                {
                    "symbol": symbol,
                    "imfFunction": {"type": "sqrt", "base": "0.02", "factor": "0.0001"},
                    "mmfFunction": {"type": "sqrt", "base": "0.0125", "factor": 0.000061},
                    "haircutFunction": {"weight": weight, "kind": curve if place % 2 else {"type": "identity"}},
                }
            )
        return rows

    def lending_markets(self) -> list[Row]:
        """Return `/borrowLend/markets`: the timestamp changes all the time, the figures once a round."""
        return [self._lending_market(symbol) for symbol in self.assets()]

    def _lending_market(self, symbol: str) -> Row:
        now_seconds, at = self._now_us() // 1_000_000, self._round()
        lent = 10**12 + self._number(f"{symbol} lent", at) % 10**14
        utilization = self._rate(f"{symbol} use", at)
        return {
            "state": "RepayOnly" if symbol == "WIF" else "Open",
            "assetMarkPrice": "1" if symbol == "USDC" else self._quantity(f"{symbol} mark", at),
            "borrowInterestRate": self._rate(f"{symbol} borrow", at),
            "borrowedQuantity": trimmed(lent // 2, _QUANTITY_PLACES),
            "fee": "0.1",
            "lendInterestRate": self._rate(f"{symbol} lend", at),
            "lentQuantity": trimmed(lent, _QUANTITY_PLACES),
            "maxUtilization": "0.95",
            "openBorrowLendLimit": 1_000_000_000,
            "optimalUtilization": "0.8",
            "symbol": symbol,
            "timestamp": naive_iso(now_seconds),
            "throttleUtilizationThreshold": "0.85",
            "throttleUtilizationBound": "0.95",
            "throttleUpdateFraction": "0.01",
            "utilization": utilization,
            "stepSize": "0.01",
        }

    def apy(self) -> Row:
        """Return `/borrowLend/apy` without a tier: borrow and lend rates of each lent asset, and the staking rate of SOL."""
        at = self._round()
        lending = [
            {"symbol": each, "borrowRate": self._rate(f"{each} b", at), "lendRate": self._rate(f"{each} l", at)}
            for each in self.assets()
        ]
        staking = [{"symbol": "SOL", "dilutionFactor": "0.98", "stakingRate": self._rate("staking", at)}]
        return {"borrowLend": lending, "staking": staking}

    def _moments(self, interval: str) -> range:
        """Return the times of a history's rows in seconds since the Unix epoch; the last one is the step in progress."""
        step = STEP_SECONDS[interval]
        newest = self._now_us() // 1_000_000 // step * step
        return range(newest - (_ROWS[interval] - 1) * step, newest + 1, step)

    def lending_history(self, symbols: list[str], interval: str) -> list[Row]:
        """Return `/borrowLend/markets/history`, oldest first. Rows do not name their asset, and the last one still changes.

        Args:
            symbols: the assets, one after another in the answer.
            interval: a key of `STEP_SECONDS`: the span of the history, not of a row.

        Raises:
            KeyError: there is no such interval.
        """
        rows = []
        for symbol in symbols:
            moments = self._moments(interval)
            for seconds in moments:
                at = seconds if seconds != moments[-1] else seconds + self._round()
                lent = 10**12 + self._number(f"{symbol} lent", at) % 10**14
                rows.append(
                    {
                        "borrowInterestRate": self._rate(f"{symbol} borrow", at),
                        "borrowedQuantity": trimmed(lent // 2, _QUANTITY_PLACES),
                        "lendInterestRate": self._rate(f"{symbol} lend", at),
                        "lentQuantity": trimmed(lent, _QUANTITY_PLACES),
                        "timestamp": naive_iso(seconds),
                        "utilization": self._rate(f"{symbol} use", at),
                    }
                )
        return rows

    def tags(self) -> list[Row]:
        """Return `/prediction/tags`: the slug and the title of each."""
        return [{"slug": slug, "title": title} for slug, title in _TAGS]

    def events(self) -> list[Row]:
        """Return `/prediction`: one event per year and one per prediction market; the volume of the first event changes."""
        listed = [each.symbol for each in self._venue.listings() if each.market_type == "PREDICTION"]
        slugs = [f"winter-{year}" for year in range(2020, 2030)]
        rows = [
            self._event(slug, f"{slug.upper()}_USDC_PREDICTION", moves=place == 0) for place, slug in enumerate(slugs)
        ]
        return rows + [self._event(symbol.partition("_")[0].lower(), symbol, moves=False) for symbol in listed]

    def _event(self, slug: str, symbol: str, moves: bool) -> Row:
        at = self._round() if moves else 0
        is_resolved = not moves and self._number(slug, 1) % 3 == 0
        market: Row = {
            "marketSymbol": symbol,
            "question": f"Will it snow more in {slug} than the year before?",
            "groupLabel": None,
            "yesOutcomeLabel": "Yes",
            "noOutcomeLabel": "No",
            "rules": "Whoever measures says.",
            "resolvedAt": "2026-01-02T03:04:05.678901" if is_resolved else None,
            "activePrice": trimmed(self._number(slug, at) % 999 + 1, 3),
            "quoteVolume": self._quantity(f"{slug} day", at),
            "quoteVolumeLifetime": self._quantity(f"{slug} life", at),
            "resolutionCondition": {"type": "QuantityRange", "greaterThanOrEqual": "10.5"} if moves else None,
            "resolutionDelaySecs": "3600",
        }
        if is_resolved:
            market["resolutionPrice"] = "1"
        return {
            "slug": slug,
            "title": slug.replace("-", " "),
            "predictionMarkets": [market],
            "tags": [{"slug": "weather", "title": "Weather"}],
            "series": [{"slug": "winters", "title": "Winters", "recurrence": "yearly"}],
            "description": "Snow, measured where it falls.",
            "quoteVolume": self._quantity(f"{slug} day", at),
            "resolution": {"resolved": is_resolved, "startDate": "2025-11-01T00:00:00", "endDate": None},
            "resolved": is_resolved,
            "resolutionDelaySecs": 3600,
        }

    @staticmethod
    def sessions() -> list[Row]:
        """Return `/market-sessions`: one within the week, one that spans its end."""
        new_york = {"timezone": "America/New_York"}
        return [
            {"name": SESSION, "description": "Regular hours", "startTime": "09:30:00", "endTime": "16:00:00", **new_york,
             "startWeekday": 1, "endWeekday": 5},
            {"name": "US_EQUITIES_OVERNIGHT", "startTime": "20:00:00", "endTime": "04:00:00", **new_york,
             "startWeekday": 7, "endWeekday": "4"},
        ]  # fmt: skip

    @staticmethod
    def securities() -> list[Row]:
        """Return `/securities`: one without a CUSIP, each with the regular session only."""
        session = {"name": SESSION, "minQuantity": "0.01", "maxQuantity": None, "stepSize": "0.01"}
        return [
            {"asset": each.asset, "name": each.name, "sessions": [session]}
            | ({"cusip": each.cusip} if each.cusip else {})
            for each in SECURITIES
        ]

    def vaults(self) -> list[Row]:
        """Return `/vaults`: the first one's remaining mint quantity changes; the second one appears and disappears every eight rounds."""
        return [self._vault(number) for number in ((1, 2) if self._round() % 16 < 8 else (1,))]

    def _vault(self, number: int) -> Row:
        row: Row = {
            "id": number,
            "vaultToken": f"VAULT{number}",
            "symbol": "USDC",
            "mintsEnabled": True,
            "redeemsEnabled": number == 1,
            "minMintQuantity": "10",
            "minRedeemTokens": "0.1",
            "redeemDelayMs": "86400000",
            "tokenStepSize": "0.000001",
        }
        return row | ({"remainingMintQuantity": self._quantity("mint", self._round())} if number == 1 else {})

    def vault_history(self, interval: str, vault: int | None) -> list[Row]:
        """Return `/vaults/history`, newest first; the figures of the first row still change.

        Args:
            interval: a key of `STEP_SECONDS`: the span of the history, not of a row.
            vault: the vault's id; None for both, one after the other.

        Raises:
            KeyError: there is no such interval.
        """
        rows = []
        for number in (1, 2) if vault is None else (vault,):
            moments = self._moments(interval)
            for seconds in reversed(moments):
                at = seconds if seconds != moments[-1] else seconds + self._round()
                rows.append(
                    {
                        "vaultId": number,
                        "timestamp": naive_iso(seconds),
                        "nav": f"1{self._rate(f'{number} nav', at)[1:]}",
                        "vaultEquity": self._quantity(f"{number} equity", at),
                        "tokenCirculatingSupply": self._quantity(f"{number} supply", at) if number == 1 else None,
                    }
                )
        return rows

    @staticmethod
    def wallets() -> list[Row]:
        """Return `/wallets`: two chains share an address."""
        return [{"blockchain": blockchain, "address": address} for blockchain, address in _WALLETS]

    def status(self) -> Row:
        """Return `/status`: one round in ten announces maintenance."""
        message = "Maintenance at midnight" if self._round() % 10 == 9 else None
        return {"status": "Ok", "message": message}
