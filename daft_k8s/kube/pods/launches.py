"""The launches of workers, from the states of their Pods: when one has started, and when to give it up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daft_k8s.kube.pods.state import Cause, PodState, Stage
from daft_k8s.wire.quoted_log import add_to_reason

if TYPE_CHECKING:
    from daft_k8s.pool_news import ExitCause

Key = tuple[str, int]
"""A worker's id and the number of its launch."""

GRACE_SECONDS = {Stage.PULL_FAILING: 20.0, Stage.CONFIG_FAILING: 15.0}
"""The time for which a failure that often mends itself may last: a registry that stumbles, a late Secret."""
EVENTS_AFTER_SECONDS = 10.0
"""The time on its node after which a Pod's events are read: most images and volumes are there by then, or never."""
_STUCK_SPARE_SECONDS = 10.0
"""The time past its grace period after which a deleted Pod counts as ended: its node is gone."""
_SIGKILL_CODE, _SIGTERM_CODE = 137, 143
"""The exit codes of containers that a signal ended."""
_DEADLINE_SHARE = 0.9
"""Of the start time-out: the reasons known here must reach the pool before its own time-out strikes."""


@dataclass(frozen=True)
class Started:
    """A process serves at this IP, or is about to."""

    key: Key
    address: str


@dataclass(frozen=True)
class Postponed:
    """The cluster has no room for a Pod now; the Pod is asked for again."""

    key: Key
    reason: str


@dataclass(frozen=True)
class Admitted:
    """There was room for a launch that had been postponed."""

    key: Key


@dataclass(frozen=True)
class Leaving:
    """A Pod is deleted by others: its worker ends its tasks and takes no more."""

    key: Key


@dataclass(frozen=True)
class Exited:
    """A launch is over, or never came."""

    key: Key
    reason: str
    restartable: bool
    delete: bool
    """True if the Pod is still there and has to go."""
    cause: ExitCause


News = Started | Postponed | Admitted | Leaving | Exited


@dataclass
class _Launch:
    pod: str
    deadline: float
    """Of its start; infinite while it is postponed."""
    state: PodState | None = None
    since: float = 0.0
    """When it came to the present stage."""
    started: bool = False
    """True if the pool knows the address, and so may have given it work."""
    ready: bool = False
    """True if its node or the pool has seen it serve."""
    leaving: str = ""
    """The reason why its Pod is deleted by others; "": it is not."""
    stop_reason: str = ""
    problem: str = ""
    """The last problem of its creation."""
    warning: str = ""
    """The last warning among the Pod's events in the present stage; "": there is none."""

    @property
    def is_postponed(self) -> bool:
        return self.deadline == math.inf

    @property
    def is_gated(self) -> bool:
        return self.state is not None and self.state.stage is Stage.GATED


class Launches:
    """The launches that the pool waits for or works with. Times are arguments, in seconds.

    Args:
        start_timeout_seconds: The time for which the pool waits for a launch.
        termination_seconds: The grace period of the Pods.
        ask_at_once: True if a process that runs counts as started. The pool then finds out by itself when it serves,
            before its node has looked and told the API server.
    """

    def __init__(self, *, start_timeout_seconds: float, termination_seconds: float, ask_at_once: bool = False) -> None:
        self._start_timeout_seconds = start_timeout_seconds
        self._termination_seconds = termination_seconds
        self._stages_of_a_start = {Stage.READY, Stage.STARTING} if ask_at_once else {Stage.READY}
        self._launches: dict[Key, _Launch] = {}
        self._keys: dict[str, Key] = {}

    def __len__(self) -> int:
        return len(self._launches)

    def pod_of(self, key: Key) -> str | None:
        """The name of a launch's Pod; None: it is over."""
        launch = self._launches.get(key)
        return None if launch is None else launch.pod

    def has_pod(self, pod: str) -> bool:
        """True if a launch that is not over has the Pod of this name."""
        return pod in self._keys

    def is_wanted(self, key: Key) -> bool:
        """True if the pool waits for this launch and has not told it to stop."""
        launch = self._launches.get(key)
        return launch is not None and not launch.stop_reason

    def is_seen(self, key: Key) -> bool:
        """True if the cluster has shown a launch's Pod, whatever became of the request that made it."""
        launch = self._launches.get(key)
        return launch is not None and launch.state is not None

    def began(self, key: Key, pod: str, now: float) -> None:
        """The pool wants a process; its Pod will have this name."""
        self._launches[key] = _Launch(pod, self._deadline(now), since=now)
        self._keys[pod] = key

    def request_stop(self, key: Key, reason: str, now: float) -> None:
        """The pool wants the process to end, and will hear when it has."""
        launch = self._launches.get(key)
        if launch is not None and not launch.stop_reason:
            launch.stop_reason = reason
            launch.since = now

    def bind(self, key: Key, pod: str) -> None:
        """Its process is known under another name from now on."""
        launch = self._launches.get(key)
        if launch is not None:
            self._keys.pop(launch.pod, None)
            launch.pod, launch.problem = pod, ""
            self._keys[pod] = key

    def has_problem(self, key: Key, problem: str) -> None:
        """Its Pod could not be made yet, and the next try may succeed."""
        launch = self._launches.get(key)
        if launch is not None:
            launch.problem = problem

    def postponed(self, key: Key, reason: str) -> list[Postponed]:
        """There is no room for its Pod now. That has no end here: how long it is waited for is the pool's to say."""
        launch = self._launches.get(key)
        if launch is None or launch.stop_reason or (launch.is_postponed and launch.problem == reason):
            return []
        launch.problem, launch.deadline = reason, math.inf
        return [Postponed(key, reason)]

    def admitted(self, key: Key, now: float) -> list[Admitted]:
        """Its Pod was made, or will be by others. If it had been postponed, its start begins only now.

        A Pod that is there and held back by gates is postponed until they are lifted.
        """
        launch = self._launches.get(key)
        if launch is None or not launch.is_postponed or launch.is_gated:
            return []
        launch.deadline = self._deadline(now)
        return [Admitted(key)]

    def waiting_on_nodes(self, now: float) -> list[Key]:
        """The launches whose Pods have long been at their nodes and do not run, those that wait longest first.

        Their Pods' status never says why: a volume that cannot be mounted is told in events alone.
        """
        waiting = [
            (launch.since, key)
            for key, launch in self._launches.items()
            if launch.state is not None
            and launch.state.stage is Stage.CREATING
            and not launch.stop_reason
            and now - launch.since >= EVENTS_AFTER_SECONDS
        ]
        return [key for _, key in sorted(waiting)]

    def note_warning(self, key: Key, words: str) -> bool:
        """Notes a warning of Kubernetes' events about a Pod that is at its node; returns True if the warning is new."""
        launch = self._launches.get(key)
        if launch is None or launch.state is None or launch.state.stage is not Stage.CREATING:
            return False
        news = launch.warning != words
        launch.warning = words
        return news

    def serves(self, worker_id: str) -> None:
        """The pool has reached the worker's process, whether or not the API could say yet that it is ready."""
        for key, launch in self._launches.items():
            # One that has not started, or has been told to stop, is not the process that was reached.
            if key[0] == worker_id and launch.started and not launch.stop_reason:
                launch.ready = True

    def failed(self, key: Key, reason: str, *, restartable: bool) -> list[Exited]:
        """Its Pod could not be made."""
        launch = self._end(key)
        if launch is None:
            return []
        pod = launch.pod.partition("/")[0]
        text = f"the Pod {pod} could not be created: {reason}"
        return [Exited(key, text, restartable, False, "stopped" if launch.stop_reason else "never_started")]

    def unreachable(self, key: Key, reason: str, *, restartable: bool) -> list[Exited]:
        """Its Pod runs, and the driver has no way to it."""
        launch = self._end(key)
        if launch is None:
            return []
        text = f"{key[0]} (Pod {launch.pod}): the driver cannot reach it: {reason}"
        return [Exited(key, text, restartable, True, "stopped" if launch.stop_reason else "never_started")]

    def node_of(self, key: Key) -> str:
        """The node of its Pod; "": that is not known."""
        launch = self._launches.get(key)
        return "" if launch is None or launch.state is None else launch.state.node

    def describe(self, key: Key, reason: str) -> str:
        """A message about a launch, with its Pod and node."""
        launch = self._launches.get(key)
        if launch is None:
            return f"{key[0]}: {reason}"
        node = f" on {launch.state.node}" if launch.state is not None and launch.state.node else ""
        return f"{key[0]} (Pod {launch.pod.partition('/')[0]}{node}): {reason}"

    def has_state(self, pod: str, state: PodState, now: float) -> list[News]:
        """A Pod has another state than before."""
        key = self._keys.get(pod)
        launch = self._launches.get(key) if key is not None else None
        if key is None or launch is None:
            return []
        if state.vague and launch.state is not None and launch.state.cause is Cause.IMAGE:
            return []
        if launch.state is None or launch.state.stage is not state.stage:
            launch.since, launch.warning = now, ""
        launch.state = state
        if state.stage.over:
            # A Pod that has ended takes up no room, and its log is still there to be read: the last few stay.
            return [self._exit(key, state, delete=state.lingers)]
        if state.hopeless and not launch.stop_reason:
            return [self._exit(key, state, delete=True)]
        if state.stage is Stage.TERMINATING and launch.started and not launch.stop_reason and not launch.leaving:
            launch.leaving = state.reason
            return [Leaving(key)]
        if launch.is_gated:
            return [*self.postponed(key, state.reason)]
        # Its gates were lifted; one that is deleted behind them has not been admitted.
        admitted = [] if state.stage is Stage.TERMINATING else self.admitted(key, now)
        launch.ready = launch.ready or state.stage is Stage.READY
        may_answer = state.stage in self._stages_of_a_start and state.address
        if may_answer and not launch.started and not launch.stop_reason:
            launch.started = True
            return [*admitted, Started(key, state.address)]
        return [*admitted]

    def _deadline(self, now: float) -> float:
        return now + self._start_timeout_seconds * _DEADLINE_SHARE

    def tick(self, now: float) -> list[Exited]:
        """Time has passed."""
        ended = []
        for key, launch in list(self._launches.items()):
            news = self._overdue(key, launch, now)
            if news is not None:
                ended.append(news)
        return ended

    def _overdue(self, key: Key, launch: _Launch, now: float) -> Exited | None:
        state = launch.state
        stopping = bool(launch.stop_reason) or (state is not None and state.stage is Stage.TERMINATING)
        if stopping:
            if now - launch.since < self._termination_seconds + _STUCK_SPARE_SECONDS:
                return None
            return self._exit(key, state, delete=True, extra="it does not end; perhaps its node is lost")
        if state is not None and now - launch.since >= GRACE_SECONDS.get(state.stage, float("inf")):
            return self._exit(key, state, delete=True, hopeless=True)
        if not launch.ready and now >= launch.deadline:
            return self._exit(key, state, delete=True, extra=f"not ready after {self._start_timeout_seconds:g} s")
        return None

    def _exit(
        self, key: Key, state: PodState | None, *, delete: bool, hopeless: bool = False, extra: str = ""
    ) -> Exited:
        launch = self._end(key)
        pod = launch.pod.partition("/")[0] if launch is not None else ""
        known = (launch.problem if launch is not None else "") or "nothing is known of it"
        if state is not None:
            known = state.reason or state.stage.value
            if launch is not None and state.cause in (Cause.NONE, Cause.PROCESS) and launch.leaving not in known:
                known = f"{launch.leaving}; {known}"  # it has drained and so ended well, as if by itself
            if launch is not None and launch.warning:
                known = add_to_reason(known, f"; Kubernetes warns: {launch.warning}")
        text = f"{key[0]} (Pod {pod}): {extra + '; ' if extra else ''}{known}"
        if launch is not None and launch.stop_reason:
            text = add_to_reason(text, f"; it was asked to stop: {launch.stop_reason}")
        restartable = not (hopeless or (state is not None and state.hopeless))
        return Exited(key, text, restartable, delete, _cause(launch, state))

    def _end(self, key: Key) -> _Launch | None:
        launch = self._launches.pop(key, None)
        if launch is not None:
            self._keys.pop(launch.pod, None)
        return launch


def _cause(launch: _Launch | None, state: PodState | None) -> ExitCause:
    """The cause of an end, as far as it matters to the tasks there."""
    cause = Cause.NONE if state is None else state.cause
    if launch is not None and launch.stop_reason:
        return "stopped"
    if cause is Cause.OUT_OF_MEMORY:
        return "oom"
    if launch is None or not launch.started or cause in (Cause.REJECTED, Cause.IMAGE, Cause.SPEC):
        return "never_started"
    if cause is Cause.PROCESS and not _was_asked_to_stop(launch, state):
        return "crash"
    # Evicted, preempted, deleted, its node lost; or it stopped well, which a worker does when others tell it to.
    return "infrastructure"


def _was_asked_to_stop(launch: _Launch, state: PodState | None) -> bool:
    """True if the process ended as its node's kubelet ends one: by SIGTERM, or by SIGKILL after the grace period."""
    if state is None:
        return False
    is_deleted = bool(launch.leaving) or state.going
    return state.exit_code == _SIGTERM_CODE or (is_deleted and state.exit_code == _SIGKILL_CODE)
