"""Checks whether the account's private key can be read and used. Nothing is signed or sent, and no part of it is shown."""

from pathlib import Path

from backpack_streams.commands.doctor.findings import Verdict, fail, ok
from backpack_streams.errors import UsageError
from backpack_streams.exchange.signing import SigningKey
from backpack_streams.runtime.settings import SettingConflict, read_secret_file

CHECK = "private key"


def examine_key(file: Path) -> Verdict:
    """Read the private key and judge it. The verdict shows the public key, never a part of the private one.

    Args:
        file: the file with the key, base64 or PEM.
    """
    try:
        key = SigningKey.from_text(read_secret_file(file, "private_key_file"))
    except SettingConflict as error:
        return fail(str(error), "check --private-key-file, and that this user may read it")
    except UsageError as error:
        found, _, todo = str(error).partition(";")
        return fail(found, todo.strip() or "use the private key as Backpack shows it")
    return ok(f"usable; its public key is {key.public_key}")
