"""`backpack-streams keys add|list|revoke`: the API keys of the gateway, in a file."""

import json
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from backpack_streams.errors import UsageError
from backpack_streams.expanded_path import expanded
from backpack_streams.gateway.api_keys import KeyEntry
from backpack_streams.gateway.key_file import KeyFile
from backpack_streams.gateway.tiers import TIERS
from backpack_streams.runtime.output_settings import OutputSettings
from backpack_streams.runtime.settings import LogSettings

__all__ = ["KeysSettings", "run"]

MAX_NAME_CHARACTERS = 100


class KeysSettings(OutputSettings, LogSettings):
    """The settings of `backpack-streams keys`."""

    keys_file: Path = Field(
        description="file of the keys, the same as the gateway's; `add` makes it", json_schema_extra={"metavar": "FILE"}
    )
    tier: str = Field(default="basic", description=f"limits of the key that `add` makes: {', '.join(TIERS)}")


def run(settings: KeysSettings, action: str, subject: str | None) -> int:
    """Add a key, revoke one, or list all keys. A new key is printed once; the file holds only its hash.

    Args:
        settings: the file of the keys, the tier of a new one, and the output.
        action: `add`, `list` or `revoke`.
        subject: name of the key to add, or id of the key to revoke; None for `list`.

    Raises:
        UsageError: the subject is missing, the tier or the key is unknown, or the file cannot be used.
    """
    file = KeyFile(expanded(settings.keys_file))
    if action == "list":
        if subject is not None:
            raise UsageError(f"list takes no name; leave out {subject!r}")
        for entry in file.read().values():
            print(json.dumps(_shown(entry)) if settings.json_output else _line(entry))
        return 0
    if action == "revoke":
        if subject is None:
            raise UsageError("which key? give its id; `backpack-streams keys list` shows it")
        entry = file.revoke(subject, datetime.now(UTC))
        print(json.dumps(_shown(entry)) if settings.json_output else f"revoked {entry.key_id} ({entry.name})")
        return 0
    _add(settings, file, subject)
    return 0


def _add(settings: KeysSettings, file: KeyFile, name: str | None) -> None:
    if name is None:
        raise UsageError("whose key? give a name, such as: keys add desk-1")
    if not name.isprintable() or not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise UsageError(f"a name has 1 to {MAX_NAME_CHARACTERS} printable characters")
    key, entry = file.add(name, settings.tier, datetime.now(UTC))
    if settings.json_output:
        print(json.dumps({"key": key, **_shown(entry)}))
        return
    print(key)
    print(
        f"Key {entry.key_id} of {entry.name}, tier {entry.tier}. It is shown this once: the file keeps only its hash."
    )


def _shown(entry: KeyEntry) -> dict[str, object]:
    return {
        "id": entry.key_id,
        "name": entry.name,
        "tier": entry.tier,
        "created": entry.created,
        "revoked": entry.revoked,
    }


def _line(entry: KeyEntry) -> str:
    state = f"revoked {entry.revoked}" if entry.revoked else "valid"
    return f"{entry.key_id}  {entry.tier:10} {state:34} {entry.created}  {entry.name}"
