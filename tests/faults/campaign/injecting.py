"""Performs the faults of a schedule on processes, the exchange and Kafka."""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from embedded_kafka import BlockingKafka
from faults.campaign import topic_faults
from faults.campaign.platform_faults import PlatformFaults
from faults.campaign.roles import Role
from faults.campaign.schedule import Fault
from faults.campaign.surroundings import Surroundings
from plant import Plant

logger = logging.getLogger(__name__)

_PRODUCERS = ("market-producer", "market-producer-2")


class Injector:
    """Performs faults; several may run at once on separate threads."""

    def __init__(
        self,
        plant: Plant,
        cluster: BlockingKafka,
        roles: Mapping[str, Role],
        surroundings: Surroundings | None = None,
    ) -> None:
        """`surroundings`: those of `cluster`; without them no platform fault can be performed."""
        self._plant = plant
        self._cluster = cluster
        self._roles = roles
        self.remarks: list[str] = []
        """Faults that could not be performed, and observations."""
        self._ways: dict[str, Callable[[Fault], None]] = {
            "kill": lambda fault: self._role(fault).kill(fault.options["down"]),
            "kill-twice": self._kill_twice,
            "terminate": self._terminate,
            "freeze": self._freeze,
            "kill-and-silence": self._kill_and_silence,
            "refuse-and-silence": self._refuse_and_silence,
            "ignore-and-silence": self._ignore_and_silence,
            "cut": lambda fault: self._order("cut", count=fault.options["count"]),
            "close": lambda fault: self._order("close", count=fault.options["count"]),
            "half-open": lambda fault: self._order("half-open", seconds=fault.lasts, **fault.options),
            "ignore-one": self._ignore,
            "ignore-all": self._ignore,
            "error-frames": self._errors,
            "sockets-refused": self._refuse_sockets,
            "market-closed": self._close_market,
            "market-gone": self._close_market,
            "market-relisted": self._close_market,
            "rest-429": lambda fault: self._order("rest-limit", seconds=fault.lasts, status=429, **fault.options),
            "rest-403": lambda fault: self._order("rest-limit", seconds=fault.lasts, status=403, **fault.options),
            "rest-old": lambda fault: self._order("snapshot-behind", seconds=fault.lasts, **fault.options),
            "broker-killed": lambda fault: self._restart_broker(fault, kill=True),
            "leader-moved": lambda fault: self._restart_broker(fault, kill=False),
            "broker-frozen": self._freeze_broker,
            "clock-stepped": self._step_clock,
            "topic-recreated": self._change_topic,
            "partitions-added": self._change_topic,
            "compression-changed": self._compress_topic,
        }
        if surroundings is not None:
            platform = PlatformFaults(surroundings)
            self._ways["addresses-moved"] = platform.move_addresses
            self._ways["certificates-rotated"] = platform.rotate_certificates
            self._ways["proxy-cut"] = platform.cut_proxy

    def perform(self, fault: Fault) -> None:
        """Perform a fault; return when it is over."""
        began = time.monotonic()
        if fault.kind in self._ways:
            self._ways[fault.kind](fault)
        else:  # the sandbox uses the same name
            self._order(fault.kind, seconds=fault.lasts, **fault.options)
        time.sleep(max(0.0, began + fault.lasts - time.monotonic()))

    def _role(self, fault: Fault) -> Role:
        return self._roles[fault.options["service"]]

    def _order(self, name: str, **options: Any) -> None:
        self._plant.exchange.order(name, **options)

    def _remark(self, fault: Fault, what: str) -> None:
        self.remarks.append(f"{fault}: {what}")

    def _kill_twice(self, fault: Fault) -> None:
        role, options = self._role(fault), fault.options
        role.kill(options["down"])
        time.sleep(options["down"] + options["again_after"])
        role.kill(options["then_down"])

    def _terminate(self, fault: Fault) -> None:
        if not self._role(fault).terminate(fault.options["down"]):
            self._remark(fault, "SIGTERM did not end it within 30 s")

    def _freeze(self, fault: Fault) -> None:
        role = self._role(fault)
        process = role.suspend()
        time.sleep(fault.lasts)
        if process is not None:
            role.resume(process)

    def _move_unseen_and_fall_silent(self, fault: Fault) -> None:
        symbol = fault.options["symbol"]
        self._order("burst", symbol=symbol, count=fault.options["moves"])
        self._order("silence", symbol=symbol)

    def _kill_and_silence(self, fault: Fault) -> None:
        for name in _PRODUCERS:
            if name in self._roles:
                self._roles[name].kill(fault.options["down"])
        self._move_unseen_and_fall_silent(fault)

    def _refuse_and_silence(self, fault: Fault) -> None:
        self._refuse_sockets(fault)
        self._move_unseen_and_fall_silent(fault)

    def _ignore_and_silence(self, fault: Fault) -> None:
        self._order("ignore-subscribe", seconds=fault.lasts, symbol=fault.options["symbol"])
        self._order("cut")
        time.sleep(fault.lasts * 0.7)  # new sockets are open by then
        self._move_unseen_and_fall_silent(fault)

    def _ignore(self, fault: Fault) -> None:
        self._order("ignore-subscribe", seconds=fault.lasts, **fault.options)
        self._order("cut")

    def _errors(self, fault: Fault) -> None:
        self._order("error", seconds=fault.lasts, **fault.options)
        self._order("cut")

    def _refuse_sockets(self, fault: Fault) -> None:
        self._order("refuse", on="ws", seconds=fault.lasts)
        self._order("cut")

    def _close_market(self, fault: Fault) -> None:
        options = fault.options
        self._order("delist", symbol=options["symbol"], gone=options["gone"])
        time.sleep(fault.lasts)
        if options["comes_back"]:
            self._order("list", symbol=options["symbol"], **({"first_id": 1} if options["from_one"] else {}))

    def _restart_broker(self, fault: Fault, *, kill: bool) -> None:
        broker = fault.options["broker"]
        self._cluster.stop_broker(broker, kill=kill)
        time.sleep(fault.lasts)
        self._cluster.start_broker(broker)

    def _freeze_broker(self, fault: Fault) -> None:
        pid = self._cluster.broker_pids[fault.options["broker"]]
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(fault.lasts)
        finally:
            os.kill(pid, signal.SIGCONT)

    def _step_clock(self, fault: Fault) -> None:
        clock = self._role(fault).clock
        if clock is None:
            self._remark(fault, "not done: libfaketime is not installed")
            return
        clock.step(fault.options["by"])
        time.sleep(fault.lasts)
        clock.step(0)

    def _change_topic(self, fault: Fault) -> None:
        change = topic_faults.recreate if fault.kind == "topic-recreated" else topic_faults.add_partitions
        change(self._cluster.bootstrap_servers, self._plant.prefix + fault.options["topic"])

    def _compress_topic(self, fault: Fault) -> None:
        servers, topic = self._cluster.bootstrap_servers, self._plant.prefix + fault.options["topic"]
        topic_faults.compress(servers, topic, fault.options["codec"])
        time.sleep(fault.lasts)
        topic_faults.compress(servers, topic, None)
