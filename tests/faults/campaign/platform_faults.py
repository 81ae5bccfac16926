"""What a firm's platform team does by routine: brokers move, certificates are renewed, proxies are restarted."""

import contextlib
import time

from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import AdminClient

from faults.campaign.schedule import Fault
from faults.campaign.surroundings import Surroundings

_IN_SYNC_SECONDS = 30.0
_REQUEST_SECONDS = 15.0


class PlatformFaults:
    """Performs them, one of the brokers at a time."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    def move_addresses(self, fault: Fault) -> None:
        """A broker comes back under another port, for good, and leads again what it led."""
        options, kafka = fault.options, self._surroundings.kafka
        kafka.stop_broker(options["broker"], kill=options["kill"])
        time.sleep(fault.lasts)
        kafka.move_broker(options["broker"], leaves_silence=options["old"] == "silent")
        self._lead_again(options["broker"])

    def rotate_certificates(self, fault: Fault) -> None:
        """The certificate, then the key, or the other way round; a broker that is started in between takes only what is to come."""
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
        finally:  # a broker that does not come back is one fault, half a pair for good would be another one
            files.replace(pair.pop())

    def cut_proxy(self, fault: Fault) -> None:
        """The way to the exchange is away."""
        self._surroundings.proxy.cut(fault.options["how"], fault.lasts)

    def _lead_again(self, broker: int) -> None:
        """As Kafka has it by itself some minutes later: who is the first replica leads, so that its clients have to come to it."""
        servers = self._surroundings.kafka.bootstrap_servers
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})  # that a broker is away, we know
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
