"""The decisions about launches: events in, effects out. Pure: times are arguments, in seconds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from daft_k8s.kube.pods.launches import Admitted, Exited, Key, Launches, Leaving, News, Postponed, Started
from daft_k8s.kube.pods.snapshots import Change
from daft_k8s.kube.pods.state import Stage

# Events: the pool's wishes, then what the cluster shows, then the results of effects.


@dataclass(frozen=True)
class StartWanted:
    """The pool wants a process. Its launch is known already, and so may its Pod be."""

    key: Key
    changes: Sequence[Change] = ()


@dataclass(frozen=True)
class EndWanted:
    """The pool wants a process to end.

    Args:
        key: The launch.
        reason: Why.
        forced: The process would not drain.
    """

    key: Key
    reason: str
    forced: bool = False


@dataclass(frozen=True)
class Serves:
    """The pool has reached a worker's process, and uses it."""

    worker_id: str


@dataclass(frozen=True)
class Changed:
    """Pods have other states than before."""

    changes: Sequence[Change]


@dataclass(frozen=True)
class TimePassed:
    """A moment has passed: something may be overdue."""


@dataclass(frozen=True)
class Asking:
    """The Pod of a launch is about to be asked for."""

    key: Key


@dataclass(frozen=True)
class Delayed:
    """The Pod of a launch could not be made yet, and the next try may succeed."""

    key: Key
    problem: str


@dataclass(frozen=True)
class NoRoom:
    """The cluster has no room for the Pod of a launch now; its creation goes on trying."""

    key: Key
    reason: str


@dataclass(frozen=True)
class Created:
    """The Pod of a launch was made, or will be by a controller."""

    key: Key
    changes: Sequence[Change] = ()


@dataclass(frozen=True)
class NotCreated:
    """The Pod of a launch cannot be made."""

    key: Key
    reason: str
    restartable: bool


@dataclass(frozen=True)
class Reachable:
    """A way to the process of a launch is open.

    Args:
        key: The launch.
        control: The address for control, as the driver reaches it.
        data: The address for data, as the driver reaches it.
        peer: The address for data, as other workers reach it; None: `data`.
    """

    key: Key
    control: str
    data: str
    peer: str | None = None


@dataclass(frozen=True)
class Unreachable:
    """There is no way to the process of a launch."""

    key: Key
    reason: str
    restartable: bool


@dataclass(frozen=True)
class Silent:
    """Nothing comes from the process of a launch any more, though the API server answers."""

    key: Key
    reason: str


Event = (
    StartWanted
    | EndWanted
    | Serves
    | Changed
    | TimePassed
    | Asking
    | Delayed
    | NoRoom
    | Created
    | NotCreated
    | Reachable
    | Unreachable
    | Silent
)


# Effects: of those on a launch or a Pod, each is independent of the others.


@dataclass(frozen=True)
class Create:
    """Ask for the Pod of a launch: `Created` or `NotCreated` follows, unless the launch ends first."""

    key: Key


@dataclass(frozen=True)
class SecureSecret:
    """Make the session's Secret again if it is gone: the node of a new Pod asks for it until it is there."""


@dataclass(frozen=True)
class Stop:
    """Delete a Pod whose process may drain; `forced`: and then once more, with a grace period that is shorter."""

    key: Key
    pod: str
    forced: bool = False


@dataclass(frozen=True)
class Remove:
    """Delete the Pod of a launch that is over."""

    key: Key


@dataclass(frozen=True)
class Tidy:
    """The process of a Pod has ended: delete the Pod once enough others are left for readers of logs."""

    pod: str


@dataclass(frozen=True)
class Forget:
    """A Pod is gone: drop what is known of it."""

    pod: str


@dataclass(frozen=True)
class OfferRoom:
    """A Pod is gone or unwanted: those that wait for a quota may try."""


@dataclass(frozen=True)
class OpenRoute:
    """Find a way to the process of a launch: `Reachable` or `Unreachable` follows, unless the launch ends first."""

    key: Key
    address: str


@dataclass(frozen=True)
class CloseRoute:
    """Close the way to the process of a launch."""

    key: Key


@dataclass(frozen=True)
class Report:
    """Reports an event to the pool."""

    news: Postponed | Admitted | Leaving | Exited | Reachable


@dataclass(frozen=True)
class Log:
    """Write a line to the log."""

    level: int
    text: str


Effect = Create | SecureSecret | Stop | Remove | Tidy | Forget | OfferRoom | OpenRoute | CloseRoute | Report | Log


class Lifecycle:
    """Decides on the launches of a session.

    Args:
        launches: The launches that the pool waits for or works with.
    """

    def __init__(self, launches: Launches) -> None:
        self._launches = launches
        self._reported_waits: set[str] = set()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Takes note of an event, and returns what is to be done, in this order."""
        return list(self._handle(event, now))

    def _handle(self, event: Event, now: float) -> Iterator[Effect]:
        launches = self._launches
        match event:
            case StartWanted(key, changes):
                yield from self._apply(changes, now)
                yield Create(key)
            case EndWanted(key, reason, forced):
                yield from self._end(key, reason, now, forced=forced)
            case Serves(worker_id):
                launches.serves(worker_id)
            case Changed(changes):
                yield from self._apply(changes, now)
            case TimePassed():
                yield from _effects_of(launches.tick(now))
            case Asking():
                yield SecureSecret()
            case Delayed(key, problem):
                launches.has_problem(key, problem)
            case NoRoom(key, reason):
                yield from _effects_of(launches.postponed(key, reason))
            case Created(key, changes):
                yield from _effects_of(launches.admitted(key, now))
                yield from self._apply(changes, now)
            case NotCreated(key, reason, restartable):
                yield from _effects_of(launches.failed(key, reason, restartable=restartable))
            case Reachable(key):
                # It has ended, or was told to, while the way was opened.
                yield Report(event) if launches.is_wanted(key) else CloseRoute(key)
            case Unreachable(key, reason, restartable):
                yield from _effects_of(launches.unreachable(key, reason, restartable=restartable))
            case Silent(key, reason) if launches.is_wanted(key):
                # The pool need not wait for the end of its Pod.
                told = Exited(key, launches.describe(key, reason), True, False, "infrastructure")
                yield from self._end(key, reason, now)
                yield CloseRoute(key)
                yield Report(told)

    def _end(self, key: Key, reason: str, now: float, *, forced: bool = False) -> Iterator[Effect]:
        pod = self._launches.pod_of(key)
        self._launches.request_stop(key, reason, now)
        yield OfferRoom()
        if pod is not None:
            yield Stop(key, pod, forced)

    def _apply(self, changes: Sequence[Change], now: float) -> Iterator[Effect]:
        for change in changes:
            yield self._line(change)
            yield from _effects_of(self._launches.has_state(change.name, change.state, now))
            if change.state.stage.over:
                yield OfferRoom()
            if change.state.stage is Stage.GONE:
                yield Forget(change.name)
            elif change.state.stage.over and not change.state.going:
                yield Tidy(change.name)

    def _line(self, change: Change) -> Log:
        stage, reason = change.state.stage, change.state.reason
        if stage in (Stage.UNSCHEDULABLE, Stage.GATED) and reason not in self._reported_waits:
            # Once: all Pods are alike, and what a queue admits comes and goes in its time.
            self._reported_waits.add(reason)
            return Log(logging.WARNING, f"the Pod {change.name} waits, and others may: {reason}")
        return Log(logging.DEBUG, f"the Pod {change.name}: {stage.name} {reason}")


def _effects_of(news: Sequence[News]) -> Iterator[Effect]:
    for item in news:
        if isinstance(item, Started):
            yield OpenRoute(item.key, item.address)
            continue
        if isinstance(item, Exited):
            if item.delete:
                yield Remove(item.key)
            yield CloseRoute(item.key)
        yield Report(item)
