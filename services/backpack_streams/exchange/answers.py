"""Applies the exchange's answers to a session: which streams become active on which socket, and which are refused."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from backpack_streams.exchange.healing import Healing
from backpack_streams.exchange.link_pool import LinkPool
from backpack_streams.exchange.refusals import Refusals
from backpack_streams.exchange.session_actions import Action, Cause
from backpack_streams.exchange.session_links import USEFUL, Link, LinkState
from backpack_streams.exchange.session_settings import Expectation
from backpack_streams.exchange.silence import SilenceWatch
from backpack_streams.exchange.verdicts import Confirmed, Refused, Rejected, SignatureRefused, Verdict


class Answers:
    """Evaluates Pongs. Times are seconds of the session's clock."""

    def __init__(self, pool: LinkPool, refusals: Refusals, silence: SilenceWatch, healing: Healing) -> None:
        self._pool = pool
        self._refusals = refusals
        self._silence = silence
        self._healing = healing

    def judge(
        self, link: Link, verdicts: list[Verdict], expectations: Mapping[str, Expectation], now: float
    ) -> list[Action]:
        """Handle a Pong on a socket, with these verdicts. All data that came before it is known."""
        actions: list[Action] = []
        for verdict in verdicts:
            match verdict:
                case Confirmed(streams):
                    self._confirm(link, streams, now)
                case Rejected(stream):
                    actions += self._give_up(link, [stream])
                    actions += self._refusals.reject(verdict, link.link_id, now)
                case SignatureRefused(streams):
                    new = [name for name in streams if name not in self._refusals.until]
                    actions += self._give_up(link, streams)
                    actions += self._refusals.refuse_signature(verdict, new, link.link_id, now) if new else []
                case Refused():
                    actions += self._refusals.refused(verdict, link.link_id, now)
                case _:
                    actions += self._refusals.unattributed(verdict.code, verdict.message, link.link_id, now)
        return actions + self._activate(link, expectations)

    def _confirm(self, link: Link, streams: Collection[str], now: float) -> None:
        if link.state not in USEFUL:
            return
        self._refusals.confirmed(streams)
        for name in streams:
            if self._silence.is_failing(name):
                self._silence.confirmed(name, now)

    def _activate(self, link: Link, expectations: Mapping[str, Expectation]) -> list[Action]:
        """Activate what is confirmed on a socket, from its confirmation on, once the exchange is known to accept SUBSCRIBEs there."""
        if link.state not in USEFUL:
            return []  # it is about to end, and may stop delivering at any moment
        if not link.is_trusted:
            link.is_held = self._healing.expects_data(link, expectations)
            if link.delivers:
                link.trust()
        if link.is_held:
            return []
        by_start: defaultdict[float, list[str]] = defaultdict(list)
        for name, at in link.subscriptions.confirmed.items():
            if name not in link.streams.since and not self._silence.is_failing(name):
                by_start[at].append(name)
        return [action for at, names in by_start.items() for action in link.streams.activate(names, at)]

    def _give_up(self, link: Link, streams: Iterable[str]) -> list[Action]:
        """The exchange refused these streams on one socket: request them nowhere, but keep them where they are confirmed."""
        actions = link.streams.deactivate(streams, Cause.REFUSED)
        everywhere = [each.subscriptions for each in self._pool.in_state(LinkState.OPEN)]
        for name in streams:
            others = [subscriptions for subscriptions in everywhere if name not in subscriptions.confirmed]
            for subscriptions in others:
                subscriptions.reject(name)
            if len(others) == len(everywhere):
                self._silence.end_episode(name)
        return actions
