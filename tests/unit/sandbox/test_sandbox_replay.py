"""A replayed recording's books are its snapshots with every later update, and its REST rows those of the replay."""

from decimal import Decimal

import pytest

from backpack_sandbox.recorded_venue import RecordedVenue
from backpack_sandbox.recording import RecordedFrame, Recording, read_recording
from recorded_files import ORDER_FLOW, recording_of


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The recorded order flow."""
    return read_recording(recording_of(ORDER_FLOW, tmp_path_factory.mktemp("flow")))


def plain_replay(recording: Recording, symbol: str) -> tuple[dict, dict, int]:
    """A book by the rule of the exchange's documentation, straight from the recording."""
    body = recording.snapshots[symbol].body
    bids = {Decimal(p): Decimal(q) for p, q in body["bids"]}
    asks = {Decimal(p): Decimal(q) for p, q in body["asks"]}
    last = int(body["lastUpdateId"])
    for frame in recording.frames:
        if frame.stream == f"depth.{symbol}" and frame.data["u"] > last:
            assert frame.data["U"] <= last + 1
            for side, changes in ((bids, frame.data["b"]), (asks, frame.data["a"])):
                side.update({Decimal(p): Decimal(q) for p, q in changes})
            last = frame.data["u"]
    return {p: q for p, q in bids.items() if q}, {p: q for p, q in asks.items() if q}, last


def test_all_ten_books_after_the_whole_flow(recording):
    venue = RecordedVenue(recording)
    for frame in recording.frames:
        venue.play(frame)
    assert len(venue.book_symbols()) == 10
    for symbol in venue.book_symbols():
        view = venue.book(symbol)
        bids, asks, last = plain_replay(recording, symbol)
        assert view.last_update_id == last
        assert [(Decimal(p), Decimal(q)) for p, q in view.bids] == sorted(bids.items(), reverse=True)
        assert [(Decimal(p), Decimal(q)) for p, q in view.asks] == sorted(asks.items())
        assert Decimal(view.bids[0][0]) < Decimal(view.asks[0][0])


def test_the_snapshot_holds_until_the_flow_passes_it(recording):
    venue = RecordedVenue(recording)
    symbol = "XRP_USDC_PERP"
    snapshot_id = int(recording.snapshots[symbol].body["lastUpdateId"])
    behind = [f for f in recording.frames if f.stream == f"depth.{symbol}" and f.data["u"] <= snapshot_id]
    assert behind
    for frame in behind:
        venue.play(frame)
    assert venue.book(symbol).last_update_id == snapshot_id
    assert venue.sequences()[symbol]["depth"]["last_update_id"] <= snapshot_id


def test_levels_are_keyed_by_value_and_an_update_across_the_snapshot_is_applied():
    def depth(first: int, last: int, bids: list[list[str]]) -> RecordedFrame:
        data = {"e": "depth", "U": first, "u": last, "T": 5, "E": 6, "s": "X_USDC", "a": [], "b": bids}
        return RecordedFrame(0, "depth.X_USDC", b"{}", data)

    frames = [depth(9, 10, [["7", "9"]]), depth(11, 13, [["86700.0", "0.000"], ["86600.0", "1.50"]])]
    recording = Recording(frames)
    recording.snapshots["X_USDC"] = read_snapshot("12", [["86700", "1"], ["86600", "2"]])
    venue = RecordedVenue(recording)
    for frame in frames:
        venue.play(frame)
    assert venue.book("X_USDC").bids == [("86600", "1.5")]
    assert venue.book("X_USDC").last_update_id == 13
    assert venue.book("X_USDC", behind=1).bids == [("86700", "1"), ("86600", "2")]


def read_snapshot(last_update_id: str, bids: list[list[str]]):
    from backpack_sandbox.recording import RecordedSnapshot

    return RecordedSnapshot(0, "X_USDC", {"bids": bids, "asks": [], "lastUpdateId": last_update_id, "timestamp": 1})


def test_market_types_come_from_the_symbols(recording):
    venue = RecordedVenue(recording)
    assert venue.listing("ETH_USDC_210924").market_type == "DATED"
    assert venue.listing("BCH_USDC_PERP").market_type == "PERP"
    assert venue.listing("NONE_USDC") is None
    assert {listing.state for listing in venue.listings()} == {"Open"}


def test_trades_and_tickers_come_from_the_replay(recording):
    venue = RecordedVenue(recording)
    assert venue.ticker("ETC_USDC_PERP") is None
    for frame in recording.frames:
        venue.play(frame)
    prints = [f.data for f in recording.frames if f.stream == "trade.ETC_USDC_PERP"]
    rows = venue.trades("ETC_USDC_PERP", 0, 1000)
    assert [row["id"] for row in rows] == [data["t"] for data in reversed(prints)]
    ticker = venue.ticker("ETC_USDC_PERP")
    assert Decimal(ticker["volume"]) == sum(Decimal(data["q"]) for data in prints)
    assert ticker["trades"] == str(len(prints))
