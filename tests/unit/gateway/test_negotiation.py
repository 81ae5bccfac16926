"""Compression, entity tags and cross-origin requests: what headers ask for."""

import gzip
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.gateway.access_errors import OriginRefusedError
from backpack_streams.gateway.cross_origin import CrossOrigin
from backpack_streams.gateway.negotiation import best_encoding, compressed, entity_tag, is_known, single_header

SITE = b"https://desk.example"


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (b"", None),
        (b"gzip", "gzip"),
        (b"gzip, deflate, br", "gzip"),
        (b"gzip, deflate, br, zstd", "zstd"),
        (b"GZIP;q=0.9, zstd;q=0.5", "gzip"),
        (b"zstd;q=0, gzip;q=0", None),
        (b"*", "zstd"),
        (b"*;q=0.1, zstd;q=0", "gzip"),
        (b"identity", None),
        (b"gzip;q=nonsense", None),
        (b";;,q=1,\xff", None),
    ],
)
def test_the_best_encoding_is_chosen(accepted: bytes, expected: str | None) -> None:
    assert best_encoding(accepted) == expected


@given(st.binary(max_size=100))
def test_any_header_is_accepted(accepted: bytes) -> None:
    assert best_encoding(accepted) in (None, "gzip", "zstd")


@given(st.binary(max_size=5000), st.sampled_from([None, "gzip", "zstd"]))
def test_compressed_bodies_decompress_to_the_original(body: bytes, encoding: str | None) -> None:
    sent, named = compressed(body, encoding)
    readers: dict[str | None, Callable[[bytes], bytes]] = {
        None: bytes,
        "gzip": gzip.decompress,
        "zstd": zstandard.ZstdDecompressor().decompress,
    }
    assert readers[named](sent) == body
    assert named == (encoding if len(body) >= 1024 else None)


def test_a_tag_is_recognized_in_every_form() -> None:
    tag = entity_tag("/v1/orderbook", b"symbol=A", "5", "number")
    assert tag != entity_tag("/v1/orderbook", b"symbol=A", "5", "string")
    for header in (tag, tag.removeprefix(b"W/"), b'"x", ' + tag, b"*"):
        assert is_known(header, tag)
    for header in (b"", b'"x"', b"W/", tag[:-2]):
        assert not is_known(header, tag)


def test_repeated_headers_are_joined() -> None:
    assert single_header([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], b"a") == b"1,3"


def test_no_other_site_may_send_requests_by_default() -> None:
    cross_origin = CrossOrigin(())
    assert cross_origin.response_headers(SITE) == []
    assert cross_origin.preflight_headers(SITE) == []
    with pytest.raises(OriginRefusedError):
        cross_origin.check_socket(SITE, b"127.0.0.1:8080")
    cross_origin.check_socket(b"http://127.0.0.1:8080", b"127.0.0.1:8080")
    cross_origin.check_socket(b"", b"127.0.0.1:8080")


def test_only_a_named_site_may_send_requests() -> None:
    cross_origin = CrossOrigin([SITE.decode()])
    assert (b"access-control-allow-origin", SITE) in cross_origin.response_headers(SITE)
    assert (b"access-control-allow-methods", b"GET, HEAD") in cross_origin.preflight_headers(SITE)
    assert cross_origin.response_headers(b"https://desk.example.evil") == [(b"vary", b"Origin")]
    cross_origin.check_socket(SITE, b"127.0.0.1:8080")
    with pytest.raises(OriginRefusedError):
        cross_origin.check_socket(b"null", b"127.0.0.1:8080")


def test_every_site_may_send_requests_if_the_settings_say_so() -> None:
    cross_origin = CrossOrigin(["*"])
    assert (b"access-control-allow-origin", b"*") in cross_origin.response_headers(SITE)
    cross_origin.check_socket(b"null", b"127.0.0.1:8080")
