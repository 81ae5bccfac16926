"""The settings of the sandbox; the command line makes a flag of every field."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Start = Literal["immediately", "subscribed", "control"]
Rate = Annotated[float, Field(gt=0)] | Literal["max"]


class SandboxSettings(BaseModel):
    """Settings of one sandbox. Times end in `_seconds`; a port of 0 takes a free one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(
        "127.0.0.1", description="Addresses to listen on, with commas between them; * is every one of IPv4 and IPv6."
    )
    ws_port: int = Field(18765, ge=0, le=65535, description="Port of the WebSocket; 0 takes a free one.")
    rest_port: int = Field(18766, ge=0, le=65535, description="Port of the REST API; 0 takes a free one.")
    control_port: int = Field(18767, ge=0, le=65535, description="Port of the HTTP control API; 0 takes a free one.")
    symbols: int = Field(12, ge=1, le=600, description="Number of synthetic markets.")
    every_kind: bool = Field(
        False,
        description="Open a market of every kind beside those: IPERP, DATED, PREDICTION, RFQ, one of a kind nobody knows, a stock.",
    )
    account_keys: list[str] = Field(
        default_factory=list,
        description="Public key (base64) that may subscribe to the account's streams; may be given repeatedly. With ':no-permission' "
        "behind it the key is known but refused. All keys are of one account.",
        json_schema_extra={"flag": "--account-key", "repeat": True},
    )
    account_act_seconds: float = Field(
        0.5, gt=0, description="Time between two things that the synthetic account does."
    )
    seed: int = Field(1, ge=0, description="Seed of the synthetic market: the same seed makes the same moves.")
    rate: Rate | None = Field(
        None,
        description="Synthetic: depth frames a second over all symbols (default 300). "
        "Recording: playback speed, 1 = as recorded (default 1). 'max' in both: as fast as the slowest subscriber takes.",
    )
    frames: int | None = Field(None, ge=0, description="Stop the synthetic flow after this many depth frames.")
    recording: Path | None = Field(None, description="Play this file of `record` in place of the market.")
    start: Start | None = Field(
        None,
        description="When the flow begins: 'immediately' (default of the synthetic market), 'subscribed' (default of a "
        "recording: once all its streams are subscribed and its snapshots asked for, or nothing new was for --settle-seconds), "
        "'control' (on POST /play).",
    )
    settle_seconds: float = Field(3.0, gt=0, description="With start 'subscribed': quiet time after a subscription.")
    retime: bool = Field(False, description="Shift the times of a recording so that its first frame is now.")
    faults: list[str] = Field(
        default_factory=list,
        description="Fault active from the start, NAME[:key=value,...]; may be given repeatedly.",
        json_schema_extra={"flag": "--fault", "repeat": True},
    )
    first_ping_min_seconds: float = Field(5.0, gt=0, description="Earliest first Ping after a socket opens.")
    first_ping_max_seconds: float = Field(38.0, gt=0, description="Latest first Ping after a socket opens.")
    ping_interval_seconds: float = Field(60.0, gt=0, description="Time between Pings on one socket.")
    pong_timeout_seconds: float = Field(
        120.0, gt=0, description="A socket that leaves a Ping unanswered for this long is dropped without a Close."
    )
    grace_seconds: float = Field(30.0, ge=0, description="Time between the server's Close frame and the drop.")
    open_interest_seconds: float = Field(60.0, gt=0, description="Time between two openInterest frames of a market.")
    requests_per_minute: int = Field(2000, ge=1, description="REST rate limit; above it: 429.")
    historical_requests_per_minute: int = Field(
        30, ge=1, description="REST rate limit of klines, fundingRates and trades/history."
    )
    cache_seconds: float = Field(
        1.0, ge=0, description="How long /markets, /tickers and /markPrices are served from the cache in front."
    )
    ledger_messages: int = Field(
        0,
        ge=0,
        description="Messages of each stream of each market to remember, sent or not, for GET /ledger and GET /books/SYMBOL?at=ID; "
        "0 remembers none. A depth frame takes about 500 bytes.",
    )
    catalogue_round_seconds: float = Field(
        30.0,
        gt=0,
        description="Time after which the REST catalogues (collateral, lending, vaults, ...) change a little.",
    )
    socket_buffer_bytes: int = Field(
        16 * 1024 * 1024, ge=65536, description="A socket further behind than this is dropped (never at rate 'max')."
    )

    @property
    def effective_rate(self) -> float | Literal["max"]:
        """`rate`, or the default of the mode."""
        if self.rate is not None:
            return self.rate
        return 300.0 if self.recording is None else 1.0

    @property
    def effective_start(self) -> Start:
        """`start`, or the default of the mode."""
        if self.start is not None:
            return self.start
        return "immediately" if self.recording is None else "subscribed"
