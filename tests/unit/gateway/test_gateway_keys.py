"""API keys: what is stored of a key, the file that holds them, and the running gateway that rereads it."""

import asyncio
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.cli.main import main
from backpack_streams.errors import UsageError
from backpack_streams.gateway.access_errors import KeyRefusedError, TooManyRequestsError
from backpack_streams.gateway.api_keys import KeyEntry, id_of
from backpack_streams.gateway.key_file import KeyFile
from backpack_streams.gateway.key_ring import Caller, KeyRing

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys" / "keys.json")


def touch(file: KeyFile) -> None:
    """Makes the change visible at any resolution of the file system's times."""
    seen = file.path.stat()
    os.utime(file.path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1_000_000))


async def caller(ring: KeyRing, key: str | None) -> Caller:
    return ring.known(key) or await ring.caller(key)


# ---- the file


def test_the_file_holds_no_key_and_only_its_owner_can_read_it(file: KeyFile) -> None:
    key, entry = file.add("desk-1", "pro", NOW)
    text = file.path.read_text()
    assert key.split("_", 2)[2] not in text
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file.read() == {entry.key_id: entry}
    assert entry.may_match(key)
    assert entry.matches(key)


def test_another_key_does_not_match(file: KeyFile) -> None:
    key, entry = file.add("desk-1", "basic", NOW)
    other, _ = file.add("desk-2", "basic", NOW)
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert not entry.matches(wrong)
    assert not entry.matches(other)
    assert not entry.may_match(wrong)


def test_simultaneous_changes_by_several_programs_are_all_kept(file: KeyFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: file.add(f"desk-{number}", "basic", NOW), range(16)))
    assert set(file.read()) == {entry.key_id for _, entry in made}
    assert [path.name for path in file.path.parent.iterdir() if path.name.startswith(".")] == []


def test_a_revoked_key_stays_recorded(file: KeyFile) -> None:
    _, entry = file.add("desk-1", "basic", NOW)
    file.revoke(entry.key_id, NOW)
    assert file.read()[entry.key_id].revoked == "2026-11-30T00:00:00+00:00"


def entry_with(tier: str) -> str:
    fields = (
        '"key_id": "a", "name": "b", "salt": "00", "hash": "00", "check": "00", "created": "2026-11-30T00:00:00+00:00"'
    )
    return f'{{"version": 1, "keys": [{{{fields}, "tier": {tier}}}]}}'


def test_an_unknown_tier_makes_no_key(file: KeyFile) -> None:
    with pytest.raises(UsageError, match="there is no tier 'gold'; there are basic"):
        file.add("desk-1", "gold", NOW)
    assert not file.path.exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no file of keys"),
        ("[]", "of version 1"),
        ('{"version": 2, "keys": []}', "of version 1"),
        ('{"version": 1}', "no list of keys"),
        ('{"version": 1, "keys": [{"key_id": "a"}]}', "has not the fields"),
        ('{"version": 1, "keys": [7]}', "has not the fields"),
        (entry_with('["pro"]'), "has not the fields"),
        (entry_with('"pro"').replace('"key_id": "a"', '"key_id": ["a"]'), "has not the fields"),
        ("[" * 100_000, "is no file of keys"),
        (entry_with('"gold"'), "has tier 'gold'"),
    ],
)
def test_an_invalid_file_is_reported(file: KeyFile, text: str, told: str) -> None:
    file.path.parent.mkdir()
    file.path.write_text(text)
    with pytest.raises(UsageError, match=told):
        file.read()


@given(st.text(max_size=80))
def test_any_text_has_the_form_of_a_key_or_not(text: str) -> None:
    assert id_of(text) is None or text.startswith(f"bps_{id_of(text)}_")


# ---- the command


def test_the_command_adds_lists_and_revokes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--keys-file", str(tmp_path / "keys.json"), "--json"]
    assert main(["keys", "add", "desk-1", "--tier", "ultra", *flags]) == 0
    made = json.loads(capsys.readouterr().out)
    assert KeyFile(tmp_path / "keys.json").read()[made["id"]].matches(made["key"])
    assert main(["keys", "revoke", made["id"], *flags]) == 0
    assert main(["keys", "list", *flags]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["id"], line["name"], line["tier"], line["revoked"] is None) for line in lines] == [
        (made["id"], "desk-1", "ultra", False)
    ] * 2
    assert all(made["key"] not in str(line) for line in lines)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["add"], "whose key"),
        (["add", "a\nb"], "printable"),
        (["add", "desk", "--tier", "gold"], "there are basic, pro"),
        (["revoke"], "which key"),
        (["revoke", "nobody"], "cannot be read"),
        (["list"], "cannot be read"),
        (["list", "desk"], "takes no name"),
    ],
)
def test_the_command_reports_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["keys", *words, "--keys-file", str(tmp_path / "keys.json")]) == 2
    assert told in capsys.readouterr().err


# ---- the ring


async def test_without_a_file_any_client_may_send_requests() -> None:
    ring = KeyRing(None)
    assert ring.is_open
    for _ in range(1000):
        (await caller(ring, None)).admit()


async def test_a_key_is_hashed_once(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    key, entry = file.add("desk-1", "basic", NOW)
    hashed: list[str] = []
    right = KeyEntry.matches

    def noting(self: KeyEntry, text: str) -> bool:
        hashed.append(text)
        return right(self, text)

    monkeypatch.setattr(KeyEntry, "matches", noting)
    ring = KeyRing(file)
    callers = await asyncio.gather(*(caller(ring, key) for _ in range(20)))
    assert {each.key_id for each in callers} == {entry.key_id}
    assert len({id(each) for each in callers}) == 1
    assert 1 <= len(hashed) <= 2  # two may hash at the same time
    assert ring.known(key) is callers[0]


async def test_wrong_keys_are_not_hashed(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    key, entry = file.add("desk-1", "basic", NOW)

    def costly(self: KeyEntry, text: str) -> bool:
        raise AssertionError("hashed")

    monkeypatch.setattr(KeyEntry, "matches", costly)
    ring = KeyRing(file)
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    for text in ("", "x", wrong, f"bps_{'0' * 12}_{'A' * 43}", "bps_" + "é" * 200, None):
        with pytest.raises(KeyRefusedError):
            await caller(ring, text)
    assert entry.key_id


async def test_a_revoked_key_ends_its_connections(file: KeyFile) -> None:
    key, entry = file.add("desk-1", "basic", NOW)
    other, _ = file.add("desk-2", "basic", NOW)
    ring = KeyRing(file)
    first, second = await caller(ring, key), await caller(ring, other)
    ended: list[str] = []
    first.follow_end(lambda: ended.append("first"))
    first.follow_end(lambda: ended.append("gone"))()
    second.follow_end(lambda: ended.append("second"))
    file.revoke(entry.key_id, NOW)
    touch(file)
    ring.look()
    assert ended == ["first"]
    with pytest.raises(KeyRefusedError):
        await caller(ring, key)
    assert (await caller(ring, other)) is second


async def test_a_temporarily_broken_file_changes_nothing(file: KeyFile) -> None:
    key, _ = file.add("desk-1", "basic", NOW)
    ring = KeyRing(file)
    known = await caller(ring, key)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:40])
    touch(file)
    ring.look()
    file.path.unlink()
    ring.look()
    assert await caller(ring, key) is known
    with pytest.raises(KeyRefusedError):
        await caller(ring, None)


async def test_a_key_whose_hash_changed_must_be_presented_again(file: KeyFile) -> None:
    key, entry = file.add("desk-1", "basic", NOW)
    ring = KeyRing(file)
    await caller(ring, key)
    document = json.loads(file.path.read_text())
    document["keys"][0]["hash"] = "00" * 32
    file.path.write_text(json.dumps(document))
    touch(file)
    ring.look()
    with pytest.raises(KeyRefusedError):
        await caller(ring, key)
    assert entry.revoked is None


@pytest.mark.parametrize(
    ("changed", "is_refused"),
    [({"hash": "00" * 32}, True), ({"revoked": "2026-11-30T00:00:00+00:00"}, True), ({"tier": "unlimited"}, False)],
    ids=lambda value: str(value)[:9],
)
async def test_a_key_that_changes_while_it_is_hashed(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], is_refused: bool
) -> None:
    key, _ = file.add("desk-1", "basic", NOW)
    ring = KeyRing(file)
    document = json.loads(file.path.read_text())
    document["keys"][0].update(changed)

    def matches(*_: object) -> bool:
        file.path.write_text(json.dumps(document))
        touch(file)
        ring.look()
        return True

    monkeypatch.setattr(KeyEntry, "matches", matches)
    if is_refused:
        with pytest.raises(KeyRefusedError):
            await caller(ring, key)
        return
    known = await caller(ring, key)
    for _ in range(100):
        known.admit()


async def test_a_changed_tier_applies_from_the_next_look(file: KeyFile) -> None:
    key, _ = file.add("desk-1", "basic", NOW)
    ring = KeyRing(file)
    known = await caller(ring, key)
    for _ in range(3):
        known.admit()
    with pytest.raises(TooManyRequestsError):
        known.admit()
    document = json.loads(file.path.read_text())
    document["keys"][0]["tier"] = "unlimited"
    file.path.write_text(json.dumps(document))
    touch(file)
    ring.look()
    for _ in range(100):
        known.admit()


def test_a_missing_file_is_reported_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        KeyRing(KeyFile(tmp_path / "none.json"))
