"""The difference of our clock from the exchange's, and the time to sign with. Sans I/O."""

from dataclasses import dataclass

LARGEST_CORRECTION_MS = 30_000
"""A larger skew is not corrected: every received time on the bus would be equally wrong."""
WORTH_SAYING_MS = 1_000


@dataclass(frozen=True, slots=True)
class Skew:
    """One measurement of the clocks' difference.

    Attributes:
        ahead_ms: our clock minus the exchange's (ms).
        uncertainty_ms: the error bound (ms).
    """

    ahead_ms: float
    uncertainty_ms: float

    @classmethod
    def measured(cls, asked_us: int, exchange_ms: int, answered_us: int) -> "Skew":
        """Compute the skew from one request.

        The exchange sends its time in whole ms, so the middle of that millisecond is used.

        Args:
            asked_us: when the request was sent, by our clock (µs since the Unix epoch).
            exchange_ms: the time in the answer (ms since the Unix epoch).
            answered_us: when the answer came, by our clock (µs since the Unix epoch).
        """
        middle_ms = (asked_us + answered_us) / 2000
        return cls(middle_ms - (exchange_ms + 0.5), max(0.0, (answered_us - asked_us) / 2000) + 0.5)

    def __str__(self) -> str:
        seconds, within = abs(self.ahead_ms) / 1000, self.uncertainty_ms / 1000
        return f"{seconds:.2f} s {'ahead of' if self.ahead_ms > 0 else 'behind'} the exchange's (within {within:.2f} s)"


@dataclass(slots=True)
class ExchangeClock:
    """The last measurement, and the correction that follows from it."""

    skew: Skew | None = None

    @property
    def is_beyond_correction(self) -> bool:
        """Whether our clock is too far off to sign with a corrected time."""
        return self.skew is not None and abs(self.skew.ahead_ms) - self.skew.uncertainty_ms > LARGEST_CORRECTION_MS

    @property
    def correction_ms(self) -> int:
        """The correction of our clock's time before signing (ms); 0 if the skew is unknown, within its uncertainty, or too large."""
        if self.skew is None or self.is_beyond_correction or abs(self.skew.ahead_ms) <= self.skew.uncertainty_ms:
            return 0
        return -round(self.skew.ahead_ms)

    def observe(self, skew: Skew) -> str | None:
        """Take a measurement; return a sentence for the log if it is news, else None."""
        before, self.skew = self.skew, skew
        if self.is_beyond_correction:
            limit = LARGEST_CORRECTION_MS // 1000
            return (
                f"this machine's clock is {skew}: too far for signatures to be corrected (more than {limit} s); "
                "the exchange will refuse them until the clock is set right, best by NTP"
            )
        is_news = before is None or abs(skew.ahead_ms - before.ahead_ms) > WORTH_SAYING_MS
        if is_news and abs(skew.ahead_ms) > WORTH_SAYING_MS:
            return f"this machine's clock is {skew}; signed times are corrected by {self.correction_ms} ms; set the clock right"
        return None

    def signed_ms(self, now_us: int) -> int:
        """The time to sign (ms since the Unix epoch) when our clock shows `now_us` (µs since the Unix epoch)."""
        return now_us // 1000 + self.correction_ms

    def why_refused(self) -> str:
        """The probable cause if the exchange refuses a signature."""
        if self.skew is None:
            return "the exchange's clock has not been read yet; check this machine's clock (NTP) and the key"
        if self.is_beyond_correction:
            return f"this machine's clock is {self.skew}: set it right (NTP), no signature is valid until then"
        return (
            f"the clock is not the reason (it is {self.skew}); check that the key is registered with the exchange, "
            "is active and may read this account"
        )
