"""Bad requests to the read API over real sockets: the right status, an envelope that says what to do, no effect on other clients."""

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import zstandard
from jsonschema import Draft202012Validator
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from backpack_streams.gateway import key_ring
from backpack_streams.gateway.key_file import KeyFile
from served_gateway import (
    SYMBOLS,
    ServedGateway,
    check_envelope,
    exact,
    keys_file,
    last_message,
    served_gateway,
    until,
    until_message,
)

NOW = datetime(2026, 11, 30, tzinfo=UTC)
BOOK = {"op": "subscribe", "id": 1, "channels": ["book"], "symbols": ["SOL_USDC"]}
SITE = "https://desk.example"


@pytest.fixture
async def gateway() -> AsyncIterator[ServedGateway]:
    async with served_gateway() as served:
        yield served


@pytest.fixture
async def client(gateway: ServedGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
        yield client


# ---- parameters

BAD_PARAMETERS = {
    "/v1/orderbook": (400, "symbol is missing"),
    "/v1/orderbook?symbol=SOL_USDC&depth=0": (400, "from 1 to 100"),
    "/v1/orderbook?symbol=SOL_USDC&depth=101": (400, "from 1 to 100"),
    "/v1/orderbook?symbol=SOL_USDC&depth=ten": (400, "from 1 to 100"),
    "/v1/orderbook?symbol=SOL_USDC&depth=5&depth=6": (400, "depth is given twice"),
    "/v1/orderbook?symbol=SOL_USDC&dpeth=5": (400, "did you mean depth?"),
    "/v1/orderbook?symbol=sol_usdc": (404, "did you mean 'SOL_USDC'?"),
    "/v1/orderbook?symbol=NOPE_USDC": (404, "there is no market 'NOPE_USDC'"),
    "/v1/orderbook?symbol=SOL_USDC&decimals=float": (400, "number, string"),
    "/v1/orderbook?symbol=%00": (400, "is no symbol"),
    "/v1/klines?symbol=SOL_USDC&limit=501": (400, "from 1 to 500"),
    "/v1/klines?symbol=SOL_USDC&interval=2m": (400, "give one of"),
    "/v1/trades?symbol=SOL_USDC&limit=201": (400, "from 1 to 200"),
    "/v1/markets?type=spot": (400, "give one of SPOT"),
    "/v1/orderbook?symbol=SOL_USDC&key=bps_x": (400, "a key in the URL is refused"),
    "/v1/stream?channels=bok&symbols=all": (400, "did you mean 'book'"),
    "/v1/stream?channels=book&symbols=NOPE": (404, "no market"),
    "/v1/stream?symbols=all": (400, "channels is missing"),
    "/v1/ticker?symbol=SOL_USDC": (503, "no ticker"),
    "/v1/nothing": (404, "/v1/meta"),
    "/v1/orderbook/": (404, "/v1/meta"),
}


@pytest.mark.parametrize("path", BAD_PARAMETERS)
async def test_a_bad_request_has_its_status_and_says_what_to_do(client: httpx.AsyncClient, path: str) -> None:
    status, told = BAD_PARAMETERS[path]
    assert told in check_envelope(await client.get(path), status)


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_symbols_with_a_dot_or_small_letters_are_valid(client: httpx.AsyncClient, symbol: str) -> None:
    answer = await client.get("/v1/orderbook", params={"symbol": symbol, "depth": 1})
    assert answer.status_code == 200
    assert list(answer.json()) == ["data", "meta", "status", "message", "success"]
    assert answer.json()["data"]["symbol"] == symbol


async def test_a_book_that_is_not_live_is_503_with_its_state(gateway: ServedGateway, client: httpx.AsyncClient) -> None:
    held = gateway.books["SOL_USDC"]
    held.status, held.reason = type(held.status).STALE, "no producer vouches for it"
    answer = await client.get("/v1/orderbook?symbol=SOL_USDC")
    assert "no producer vouches for it" in check_envelope(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["meta"]["book_status"] == "STALE"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_405(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/v1/markets", content=b"x" * 100)
    assert answer.headers["allow"] == "GET, HEAD"
    check_envelope(answer, 405)


async def test_head_has_the_headers_and_no_body(client: httpx.AsyncClient) -> None:
    for path in ("/v1/markets", "/openapi.json", "/docs", "/v1/stream?channels=book&symbols=SOL_USDC"):
        answer = await client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


# ---- headers, tags, compression, other sites


async def test_an_answer_is_compressed_as_requested_and_has_a_tag(
    gateway: ServedGateway, client: httpx.AsyncClient
) -> None:
    for price in range(1, 90):
        gateway.change_book("SOL_USDC", price, 1)
    path = "/v1/orderbook?symbol=SOL_USDC&depth=100"
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    gzipped = await client.get(path, headers={"Accept-Encoding": "gzip"})
    assert gzipped.headers["content-encoding"] == "gzip"
    assert gzipped.json()["data"]["bids"] == plain.json()["data"]["bids"]
    async with client.stream("GET", path, headers={"Accept-Encoding": "zstd"}) as answer:
        assert answer.headers["content-encoding"] == "zstd"
        body = b"".join([part async for part in answer.aiter_raw()])
    assert exact(zstandard.ZstdDecompressor().decompress(body))["data"]["bids"] == exact(plain.content)["data"]["bids"]
    tag = plain.headers["etag"]
    known = await client.get(path, headers={"If-None-Match": f'"other", {tag}'})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    gateway.change_book("SOL_USDC", 50, 7)
    assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 200
    assert (await client.get(path + "&decimals=string", headers={"If-None-Match": tag})).status_code == 200


async def test_request_ids_are_in_the_answer_its_header_and_the_log(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "backpack_streams.gateway.http_front"):
        answer = await client.get("/v1/markets?type=SPOT")
    request_id = answer.json()["meta"]["request_id"]
    assert answer.headers["x-request-id"] == request_id
    [record] = [each for each in caplog.records if getattr(each, "request_id", None) == request_id]
    assert vars(record)["parameters"] == {"type": "SPOT", "decimals": "number"}
    assert (vars(record)["status"], vars(record)["path"]) == (200, "/v1/markets")


async def test_keys_are_never_logged(
    gateway: ServedGateway, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"bps_0123456789ab_{'K' * 43}"
    with caplog.at_level(logging.DEBUG):
        await client.get("/v1/markets", headers={"X-API-Key": key, "x-oanor-key": key})
        await client.get(f"/v1/markets?key={key}&other={key}&type={key}")
        await client.get(f"/v1/{key}")
        with contextlib.suppress(InvalidStatus):
            await connect(f"{gateway.stream_url}?key={key}")
        async with connect(gateway.stream_url) as socket:
            await socket.send(json.dumps(BOOK | {"key": key}))
            await socket.recv()
    await until("all of it is logged", lambda: "stream closed" in caplog.text)
    ours = [each for each in caplog.records if each.name.startswith(("backpack_streams", "uvicorn"))]
    assert len(ours) >= 5
    assert not [each for each in ours if "KKKK" in str(vars(each))]


async def test_pages_of_other_sites_get_answers_only_if_the_settings_allow_them() -> None:
    asked = {"Origin": SITE, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-api-key"}
    async with served_gateway() as closed, httpx.AsyncClient(base_url=closed.url) as client:
        answer = await client.get("/v1/markets", headers={"Origin": SITE})
        assert "access-control-allow-origin" not in answer.headers
        check_envelope(await client.options("/v1/markets", headers=asked), 405)
        with pytest.raises(InvalidStatus) as refused:
            await connect(closed.stream_url, origin=SITE)  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
    async with served_gateway(cors_origins=(SITE,)) as opened, httpx.AsyncClient(base_url=opened.url) as client:
        answer = await client.get("/v1/markets", headers={"Origin": SITE})
        assert answer.headers["access-control-allow-origin"] == SITE
        preflight = await client.options("/v1/markets", headers=asked)
        assert preflight.status_code == 204
        assert "X-API-Key" in preflight.headers["access-control-allow-headers"]
        other = await client.get("/v1/markets", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        async with connect(opened.stream_url, origin=SITE) as socket:  # type: ignore[arg-type]
            await socket.send(json.dumps(BOOK))
            assert json.loads(await socket.recv())["type"] == "subscribed"


# ---- keys and quotas


async def test_a_gateway_with_keys_requires_one(tmp_path: Path) -> None:
    key, entry = KeyFile(keys_file(tmp_path)).add("desk", "unlimited", NOW)
    async with (
        served_gateway(keys_file=keys_file(tmp_path)) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=60) as client,
    ):
        answer = await client.get("/v1/markets")
        assert "X-API-Key" in check_envelope(answer, 401)
        assert "www-authenticate" in answer.headers
        for wrong in ("", "x", key[:-1], key + "x", key.replace(entry.key_id, "0" * 12), "é"):
            check_envelope(await client.get("/v1/markets", headers=[(b"X-API-Key", wrong.encode())]), 401)
        for header in ("X-API-Key", "x-oanor-key"):
            assert (await client.get("/v1/markets", headers={header: key})).status_code == 200
        both = {"X-API-Key": key, "x-oanor-key": "another"}
        assert "two different keys" in check_envelope(await client.get("/v1/markets", headers=both), 400)
        assert "in the URL" in check_envelope(await client.get(f"/v1/markets?api_key={key}"), 400)
        for open_path in ("/", "/docs", "/openapi.json"):
            assert (await client.get(open_path)).status_code == 200
        assert (await client.get("/openapi.json")).json()["security"] == [{"ApiKey": []}]


async def test_an_exceeded_quota_is_429_until_the_next_second(tmp_path: Path) -> None:
    key, _ = KeyFile(keys_file(tmp_path)).add("desk", "basic", NOW)
    other, _ = KeyFile(keys_file(tmp_path)).add("other desk", "basic", NOW)
    async with (
        served_gateway(keys_file=keys_file(tmp_path)) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=60) as client,
    ):

        async def ask(key: str) -> httpx.Response:
            return await client.get("/v1/meta", headers={"X-API-Key": key})

        answers = await asyncio.gather(*(ask(key) for _ in range(30)))
        refused = [each for each in answers if each.status_code != 200]
        assert refused
        for each in refused:
            assert "3 requests a second" in check_envelope(each, 429)
            assert int(each.headers["retry-after"]) == 1
        assert (await ask(other)).status_code == 200
        deadline = time.monotonic() + 60
        while (await ask(key)).status_code == 429:
            assert time.monotonic() < deadline


async def test_a_revoked_key_ends_its_own_streams_only(tmp_path: Path) -> None:
    file = KeyFile(keys_file(tmp_path))
    key, entry = file.add("desk", "unlimited", NOW)
    other, _ = file.add("other desk", "unlimited", NOW)
    async with (
        served_gateway(keys_file=keys_file(tmp_path)) as gateway,
        connect(gateway.stream_url, additional_headers={"X-API-Key": key}) as by_header,
        connect(gateway.stream_url) as by_message,
        connect(gateway.stream_url, additional_headers={"x-oanor-key": other}) as stays,
        httpx.AsyncClient(base_url=gateway.url, timeout=60) as client,
    ):
        await by_header.send(json.dumps(BOOK))
        await by_message.send(json.dumps(BOOK | {"key": key}))
        await stays.send(json.dumps(BOOK))
        for socket in (by_header, by_message, stays):
            assert json.loads(await socket.recv())["type"] == "subscribed"
        url = "/v1/stream?channels=book&symbols=SOL_USDC"
        async with client.stream("GET", url, headers={"X-API-Key": key}) as events:
            file.revoke(entry.key_id, NOW)
            for socket in (by_header, by_message):
                last = await last_message(socket)
                assert (last["type"], last["status"]) == ("error", 401)
                assert socket.close_code == 4401
            assert "revoked" in "".join([line async for line in events.aiter_lines()])
        check_envelope(await client.get("/v1/markets", headers={"X-API-Key": key}), 401)
        gateway.change_book("SOL_USDC", 42, 1)
        await until_message(stays, lambda message: message["type"] == "update")
    assert key_ring.LOOK_SECONDS <= 1


async def test_a_stream_without_a_valid_key_is_refused(tmp_path: Path) -> None:
    KeyFile(keys_file(tmp_path)).add("desk", "basic", NOW)
    async with served_gateway(keys_file=keys_file(tmp_path)) as gateway:
        for query, headers, status in (
            ("", {"X-API-Key": "wrong"}, 401),
            ("?key=x", {}, 400),
            ("?symbols=x", {}, 400),
        ):
            with pytest.raises(InvalidStatus) as refused:
                await connect(gateway.stream_url + query, additional_headers=headers)
            assert refused.value.response.status_code == status
            assert json.loads(refused.value.response.body or b"")["success"] is False
        for request in (BOOK, BOOK | {"key": "wrong"}):
            async with connect(gateway.stream_url) as socket:
                await socket.send(json.dumps(request))
                last = await last_message(socket)
                assert (last["type"], last["status"], last["id"]) == ("error", 401, 1)
                assert socket.close_code == 4401


async def test_a_gateway_without_keys_serves_only_this_machine() -> None:
    with pytest.raises(ValueError, match="no key would be asked for"):
        async with served_gateway(host="0.0.0.0"):
            raise AssertionError("it is open to everybody")


# ---- the documents are true


async def test_every_answer_conforms_to_the_openapi_document(gateway: ServedGateway, client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    asked = {path: document["paths"][path]["get"] for path in document["paths"] if path != "/v1/stream"}
    answered = 0
    for path, operation in asked.items():
        for decimals in ("number", "string"):
            parameters = {each["name"]: each["example"] for each in operation["parameters"] if each["required"]}
            answer = await client.get(path, params=parameters | {"decimals": decimals})
            response = operation["responses"][str(answer.status_code)]
            if "$ref" in response:
                response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
            schema = response["content"]["application/json"]["schema"]
            Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json())
            answered += answer.status_code == 200
            if answer.status_code == 200:
                example = response["content"]["application/json"]["example"]
                Draft202012Validator({**schema, "components": document["components"]}).validate(example)
    assert answered >= 8


async def test_the_documentation_pages_use_no_other_host(client: httpx.AsyncClient) -> None:
    for path in ("/docs", "/docs/page.css", "/docs/page.js"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert re.findall(r"//\w[\w-]*\.\w+", answer.text) == []
        assert "default-src 'none'" in answer.headers["content-security-policy"]
