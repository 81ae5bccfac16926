"""Service `account-producer`: the private streams of one account into Kafka."""

import logging
import stat
from functools import partial
from pathlib import Path

from backpack_streams.account_producer.account_specs import BALANCE_UPDATE, ORDER_UPDATE, POSITION_UPDATE, RFQ_UPDATE
from backpack_streams.account_producer.account_streams import AccountStreams
from backpack_streams.account_producer.settings import AccountProducerSettings
from backpack_streams.expanded_path import expanded
from backpack_streams.feed.producer import Producer
from backpack_streams.runtime.service import run_service

logger = logging.getLogger(__name__)

NAME = "account-producer"
STREAM_SPECS = (ORDER_UPDATE, POSITION_UPDATE, RFQ_UPDATE, BALANCE_UPDATE)


def main(settings: AccountProducerSettings) -> int:
    """Run the service until a signal; return the process's exit code.

    Logs a warning if every user of the machine can read or change the file of the private key.

    Args:
        settings: the service's settings, with a valid key.

    Raises:
        OSError: the file of the private key has disappeared.
    """
    if settings.private_key_file is not None:
        _warn_of_readers(expanded(settings.private_key_file))
    return run_service(
        NAME, lambda: Producer(NAME, settings, STREAM_SPECS, partial(AccountStreams, settings)), settings, settings
    )


def _warn_of_readers(path: Path) -> None:
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        logger.warning(
            "every user of this machine can read or change the private key's file; run chmod 600 on it",
            extra={"file": str(path)},
        )
