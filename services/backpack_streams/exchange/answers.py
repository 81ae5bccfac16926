"""Applies the exchange's answers to a session: which streams become active on which socket, and which are refused."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from backpack_streams.exchange.healing import Healing
from backpack_streams.exchange.refusals import Refusals
from backpack_streams.exchange.session_actions import Action, Cause
from backpack_streams.exchange.session_settings import Expectation
from backpack_streams.exchange.session_sockets import USEFUL, Socket, SocketState
from backpack_streams.exchange.silence import SilenceWatch
from backpack_streams.exchange.socket_pool import SocketPool
from backpack_streams.exchange.verdicts import Confirmed, Refused, Rejected, SignatureRefused, Verdict


class Answers:
    """Evaluates Pongs. Times are seconds of the session's clock."""

    def __init__(self, pool: SocketPool, refusals: Refusals, silence: SilenceWatch, healing: Healing) -> None:
        """Prepare.

        Args:
            pool: the sockets.
            refusals: the refused streams.
            silence: the streams that do not deliver.
            healing: repairs streams and sockets.
        """
        self._pool = pool
        self._refusals = refusals
        self._silence = silence
        self._healing = healing

    def judge(
        self, socket: Socket, verdicts: list[Verdict], expectations: Mapping[str, Expectation], now: float
    ) -> list[Action]:
        """Handle a Pong on a socket. All data that came before it is known.

        Args:
            socket: the socket.
            verdicts: the results of the subscriptions that the Pong answers.
            expectations: what each wanted stream should deliver.
            now: the time.
        """
        actions: list[Action] = []
        for verdict in verdicts:
            match verdict:
                case Confirmed(streams):
                    self._confirm(socket, streams, now)
                case Rejected(stream):
                    actions += self._give_up(socket, [stream])
                    actions += self._refusals.reject(verdict, socket.socket_id, now)
                case SignatureRefused(streams):
                    new = [name for name in streams if name not in self._refusals.until]
                    actions += self._give_up(socket, streams)
                    actions += self._refusals.refuse_signature(verdict, new, socket.socket_id, now) if new else []
                case Refused():
                    actions += self._refusals.refused(verdict, socket.socket_id, now)
                case _:
                    actions += self._refusals.unattributed(verdict.code, verdict.message, socket.socket_id, now)
        return actions + self._activate(socket, expectations)

    def _confirm(self, socket: Socket, streams: Collection[str], now: float) -> None:
        if socket.state not in USEFUL:
            return
        self._refusals.confirmed(streams)
        for name in streams:
            if self._silence.is_failing(name):
                self._silence.confirmed(name, now)

    def _activate(self, socket: Socket, expectations: Mapping[str, Expectation]) -> list[Action]:
        """Activate what is confirmed on a socket, from its confirmation on, once the exchange is known to accept SUBSCRIBEs there."""
        if socket.state not in USEFUL:
            return []  # about to end: it may stop delivering at any moment
        if not socket.is_trusted:
            socket.is_held = self._healing.expects_data(socket, expectations)
            if socket.delivers:
                socket.trust()
        if socket.is_held:
            return []
        by_start: defaultdict[float, list[str]] = defaultdict(list)
        for name, at in socket.subscriptions.confirmed.items():
            if name not in socket.streams.since and not self._silence.is_failing(name):
                by_start[at].append(name)
        return [action for at, names in by_start.items() for action in socket.streams.activate(names, at)]

    def _give_up(self, socket: Socket, streams: Iterable[str]) -> list[Action]:
        """The exchange refused these streams on one socket: request them nowhere, but keep them where they are confirmed."""
        actions = socket.streams.deactivate(streams, Cause.REFUSED)
        everywhere = [each.subscriptions for each in self._pool.in_state(SocketState.OPEN)]
        for name in streams:
            others = [subscriptions for subscriptions in everywhere if name not in subscriptions.confirmed]
            for subscriptions in others:
                subscriptions.reject(name)
            if not any(name in each.subscriptions.confirmed for each in self._pool.in_state(*USEFUL)):
                self._silence.end_episode(name)
        return actions
