"""The routine work of a platform team: moving brokers, renewing certificates, restarting proxies."""

import contextlib
import time

from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import AdminClient

from faults.campaign.schedule import Fault
from faults.campaign.surroundings import Surroundings

_IN_SYNC_SECONDS = 30.0
_REQUEST_SECONDS = 15.0


class PlatformFaults:
    """Performs these faults, on one broker at a time."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    def move_addresses(self, fault: Fault) -> None:
        """Move a broker to another port for good; it leads the same partitions again."""
        options, kafka = fault.options, self._surroundings.kafka
        kafka.stop_broker(options["broker"], kill=options["kill"])
        time.sleep(fault.lasts)
        kafka.move_broker(options["broker"], leaves_silence=options["old"] == "silent")
        self._lead_again(options["broker"])

    def rotate_certificates(self, fault: Fault) -> None:
        """Replace the certificate, then the key, or the reverse; a broker started in between accepts only the new pair."""
        began, options, files = time.monotonic(), fault.options, self._surroundings.files
        pair = [files.certificate, files.key]
        files.next_pair()
        files.replace(pair.pop(0 if options["first"] == "certificate" else 1))
        time.sleep(options["broker_after"])
        try:
            self._surroundings.kafka.stop_broker(options["broker"])
            self._surroundings.kafka.start_broker(options["broker"])
            self._lead_again(options["broker"])
            time.sleep(max(0.0, began + fault.lasts - time.monotonic()))
        finally:  # a broker that does not come back is one fault; half a pair forever would be another one
            files.replace(pair.pop())

    def cut_proxy(self, fault: Fault) -> None:
        """Cut the connection to the exchange."""
        self._surroundings.proxy.cut(fault.options["how"], fault.lasts)

    def _lead_again(self, broker: int) -> None:
        """Elect the preferred leaders, as Kafka does after some minutes, so that clients have to connect to this broker."""
        servers = self._surroundings.kafka.bootstrap_servers
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})  # it would log that a broker is away
        deadline = time.monotonic() + _IN_SYNC_SECONDS
        while not _is_in_sync(admin, broker + 1) and time.monotonic() < deadline:
            time.sleep(0.5)
        with contextlib.suppress(KafkaException, TimeoutError):  # it leads already, or will later
            admin.elect_leaders(ElectionType.PREFERRED).result(_REQUEST_SECONDS)


def _is_in_sync(admin: AdminClient, node: int) -> bool:
    try:
        topics = admin.list_topics(timeout=_REQUEST_SECONDS).topics
    except KafkaException:
        return False
    partitions = [each for topic in topics.values() for each in topic.partitions.values()]
    return all(node in each.isrs for each in partitions if node in each.replicas)
