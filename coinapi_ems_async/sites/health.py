"""How a site fares, from its probes and from the calls it carried: one table of states. Pure: time comes in."""

from collections.abc import Mapping
from enum import Enum, StrEnum
from math import inf
from random import Random
from types import MappingProxyType
from typing import Final

from ..matrix import Row
from ..settings import Settings
from .effects import Effect
from .flags import Flags

__all__ = ["RANK", "TRANSITIONS", "Event", "Health", "HealthRecord", "follow"]


class Health(StrEnum):
    """Whether a site is worth asking."""

    NEW = "new"
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    EJECTED = "ejected"
    PROBATION = "probation"
    DRAINING = "draining"


class Event(Enum):
    """What can happen to a site, as far as its state is concerned."""

    PROBE_GOOD = "a good probe"
    ANSWERED = "a good answer"
    DOUBTED = "a failure"
    CONDEMNED = "as many failures in a row as eject"
    PROVED = "the last of the good probes that readmit"
    REMOVED = "it is gone from the site table"


_H, _E = Health, Event

TRANSITIONS: Final[Mapping[Health, Mapping[Event, Health]]] = MappingProxyType(
    {
        _H.NEW: {
            _E.PROBE_GOOD: _H.HEALTHY,
            _E.ANSWERED: _H.HEALTHY,
            _E.DOUBTED: _H.SUSPECT,
            _E.CONDEMNED: _H.EJECTED,
            _E.REMOVED: _H.DRAINING,
        },
        _H.HEALTHY: {
            _E.PROBE_GOOD: _H.HEALTHY,
            _E.ANSWERED: _H.HEALTHY,
            _E.DOUBTED: _H.SUSPECT,
            _E.CONDEMNED: _H.EJECTED,
            _E.REMOVED: _H.DRAINING,
        },
        _H.SUSPECT: {
            _E.PROBE_GOOD: _H.HEALTHY,
            _E.ANSWERED: _H.HEALTHY,
            _E.DOUBTED: _H.SUSPECT,
            _E.CONDEMNED: _H.EJECTED,
            _E.REMOVED: _H.DRAINING,
        },
        # It is not probed before its backoff is over, and only probes readmit: calls come here when all else is
        # lost, and answers to what was under way say nothing about new connections.
        _H.EJECTED: {
            _E.PROBE_GOOD: _H.PROBATION,
            _E.ANSWERED: _H.EJECTED,
            _E.DOUBTED: _H.EJECTED,
            _E.CONDEMNED: _H.EJECTED,
            _E.REMOVED: _H.DRAINING,
        },
        _H.PROBATION: {
            _E.PROBE_GOOD: _H.PROBATION,
            _E.ANSWERED: _H.PROBATION,
            _E.DOUBTED: _H.EJECTED,
            _E.CONDEMNED: _H.EJECTED,
            _E.PROVED: _H.HEALTHY,
            _E.REMOVED: _H.DRAINING,
        },
        # It gets no new work, so nothing matters any more.
        _H.DRAINING: {
            _E.PROBE_GOOD: _H.DRAINING,
            _E.ANSWERED: _H.DRAINING,
            _E.DOUBTED: _H.DRAINING,
            _E.CONDEMNED: _H.DRAINING,
            _E.REMOVED: _H.DRAINING,
        },
    }
)
"""From each state, by each event that can happen in it, to the next."""

RANK: Final[Mapping[Health, int]] = MappingProxyType(
    {_H.HEALTHY: 0, _H.PROBATION: 1, _H.NEW: 2, _H.SUSPECT: 3, _H.EJECTED: 4, _H.DRAINING: 5}
)
"""Lower is better; an ejected site is still tried when nothing else is left: a failed connect costs nothing."""

_MOST_EJECTIONS: Final = 32
_MOST_TO_PROBATION: Final = 4
"""Most good probes that a site must show before it is let into probation."""
_DEFAULTS: Final = Settings()


def follow(state: Health, event: Event) -> Health:
    """Return the state after an event.

    Raises ValueError: if that event cannot happen in that state.
    """
    following = TRANSITIONS[state].get(event)
    if following is None:
        raise ValueError(f"{event.value} cannot happen to a site that is {state}")
    return following


class HealthRecord:
    """Health of one site; every method that takes something in returns whether its rank may have changed.

    random: spreads the backoff, so that many clients do not come back in step.
    """

    def __init__(self, settings: Settings = _DEFAULTS, random: Random | None = None) -> None:
        self._settings = settings
        self._random = random or Random()  # noqa: S311  # spreads load, protects nothing
        self.state = Health.NEW
        self.flags = Flags(settings)
        self.last_error: str | None = None
        self.last_success = -inf
        self.probe_at: float | None = None
        """When the next probe is due if the state says so: while it is ejected or in probation."""
        self.ejections = 0
        """How many ejections count for the next backoff."""
        self._counts: dict[Effect | Event, int] = {}
        self._good = 0
        self._healthy_since: float | None = None
        self._healthy = 0.0
        self._limits: Mapping[Effect | Event, int] = {
            Event.DOUBTED: settings.eject_probes,
            Effect.REFUSED: settings.eject_refused,
            Effect.MALFORMED: settings.eject_malformed,
            Effect.GATEWAY_ERROR: settings.eject_gateway_errors,
            Effect.SERVER_ERROR: settings.eject_server_errors,
            Effect.UNTRUSTED: 1,
        }

    def __repr__(self) -> str:
        return f"<HealthRecord {self.state}, {self.ejections} ejections>"

    @property
    def is_troubled(self) -> bool:
        """Whether a good answer would change anything."""
        return self.state is not Health.HEALTHY or bool(self._counts) or self.flags.is_clearable

    # Probes

    def probe_good(self, now: float) -> bool:
        """Take in a good probe: any complete answer below 500."""
        if self.state is Health.EJECTED:
            return self._good_while_ejected(now)
        self.last_success = now
        for count in (Event.DOUBTED, Effect.REFUSED):
            self._counts.pop(count, None)
        if self.state is not Health.PROBATION:
            return self._step(Event.PROBE_GOOD, now)
        self._good += 1
        if self._good >= self._settings.readmit_probes:
            return self._step(Event.PROVED, now)
        self.probe_at = now + self._settings.readmit_interval
        return self._step(Event.PROBE_GOOD, now)

    def _good_while_ejected(self, now: float) -> bool:
        """One good probe opens probation; who keeps coming back must show more."""
        if self.probe_at is not None and now < self.probe_at:
            return False  # it was on its way already when the site was ejected
        self.last_success = now
        self._good += 1
        self.probe_at = now + self._settings.readmit_interval
        if self._good < min(self.ejections, _MOST_TO_PROBATION):
            return False
        self._good = 0
        return self._step(Event.PROBE_GOOD, now)

    def probe_failed(self, now: float, reason: str, row: Row | None = None) -> bool:
        """Take in a failed probe; `row` says how, if a connection failed."""
        self.last_error = reason
        is_untrusted = row is Row.TLS_VERIFICATION
        if self.state is Health.EJECTED:
            if self.probe_at is None or now >= self.probe_at:
                self._back_off(now, is_untrusted)
            return False
        if is_untrusted:
            return self._counted(Effect.UNTRUSTED, now)
        if row is Row.REFUSED and self._count(Effect.REFUSED):
            return self._step(Event.CONDEMNED, now)
        return self._counted(Event.DOUBTED, now)

    def overdue(self, now: float, reason: str) -> bool:
        """Take in that a probe is in flight for too long: a suspicion, no more."""
        if self.state is not Health.HEALTHY:
            return False
        self.last_error = reason
        return self._step(Event.DOUBTED, now)

    # Calls

    def take(
        self,
        effect: Effect,
        now: float,
        reason: str,
        *,
        exchange_id: str | None = None,
        retry_after: float | None = None,
    ) -> bool:
        """Take in how a call ended here."""
        match effect:
            case Effect.NONE | Effect.PROBE | Effect.STALE_TABLE:
                return False
            case Effect.SUCCESS:
                return self.answered(now)
            case Effect.AUTH_BLOCKED:
                self.flags.auth_blocked(now)
            case Effect.THROTTLED:
                self.flags.throttled(now, retry_after)
            case Effect.EXCHANGE_DOWN:
                if exchange_id is not None:
                    self.flags.exchange_down(now, exchange_id)
            case _:
                return self._failed(effect, now, reason, retry_after)
        return True

    def _failed(self, effect: Effect, now: float, reason: str, retry_after: float | None) -> bool:
        self.last_error = reason
        if effect is Effect.DOUBT:
            return self._step(Event.DOUBTED, now)
        throttled = effect is Effect.GATEWAY_ERROR and retry_after is not None
        if throttled:
            self.flags.throttled(now, retry_after)
        return self._counted(effect, now) or throttled

    def answered(self, now: float, exchange_id: str | None = None) -> bool:
        """Take in a good answer; `exchange_id` if it proves that the exchange was reached."""
        self.last_success = now
        self._counts.clear()
        changed = self.flags.answered(exchange_id)
        return self._step(Event.ANSWERED, now) or changed or self.state is Health.EJECTED

    def removed(self, now: float) -> bool:
        """Take in that the site is gone from the table."""
        return self._step(Event.REMOVED, now)

    # Steps

    def _count(self, kind: Effect | Event) -> bool:
        """Count one more in a row; returns whether they are as many as eject."""
        self._counts[kind] = count = self._counts.get(kind, 0) + 1
        return count >= self._limits[kind]

    def _counted(self, kind: Effect | Event, now: float) -> bool:
        if self._count(kind):
            return self._step(Event.CONDEMNED, now, is_untrusted=kind is Effect.UNTRUSTED)
        # A server that answers with an error is there; one that cannot be talked to is in doubt.
        if kind in (Effect.GATEWAY_ERROR, Effect.SERVER_ERROR):
            return self.state is Health.PROBATION and self._step(Event.DOUBTED, now)
        return self._step(Event.DOUBTED, now)

    def _step(self, event: Event, now: float, *, is_untrusted: bool = False) -> bool:
        before = self.state
        self.state = after = follow(before, event)
        if after is before:
            return False
        if before is Health.HEALTHY:
            self._forgive(now)
        match after:
            case Health.EJECTED:
                self._counts.clear()
                self.flags.ejected(now)
                self._back_off(now, is_untrusted)
            case Health.PROBATION:
                self.probe_at = now + self._settings.readmit_interval
            case Health.HEALTHY:
                if before is Health.PROBATION:
                    self.flags.readmitted(now)
                self.probe_at, self._healthy_since = None, now
            case _:
                self.probe_at = None
        return True

    def _back_off(self, now: float, is_untrusted: bool) -> None:
        self._good = 0
        self.ejections = min(self.ejections + 1, self._most_ejections)
        settings = self._settings
        wait = settings.eject_backoff * 2.0 ** (self.ejections - 1)
        if is_untrusted:
            wait = max(wait, settings.eject_backoff_tls)
        self.probe_at = now + min(wait, settings.eject_backoff_most) * self._random.uniform(0.8, 1.2)

    @property
    def _most_ejections(self) -> int:
        """More than the longest backoff takes would only take longer to forgive."""
        backoff, count = self._settings.eject_backoff, 1
        while backoff * 2.0 ** (count - 1) < self._settings.eject_backoff_most and count < _MOST_EJECTIONS:
            count += 1
        return count

    def _forgive(self, now: float) -> None:
        """Forget an ejection for every 30 s that it was healthy, short suspicions or not."""
        since, self._healthy_since = self._healthy_since, None
        self._healthy += 0.0 if since is None else now - since
        forgiven, self._healthy = divmod(self._healthy, self._settings.forgive_after)
        self.ejections = max(0, self.ejections - int(forgiven))
