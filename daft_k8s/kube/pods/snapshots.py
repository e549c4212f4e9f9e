"""The known states of a session's Pods, from a watch for speed and from lists for truth.

Both feed one store. A watch may miss any change, but its reports are true. Only a complete, successful list may prove
that a Pod is missing, and only some time after the last sign of the Pod: a list can be older than a Pod that has just
been made. No clock in here: times are arguments, in seconds, and never go back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from daft_k8s.kube.pods.state import GONE, PodState, Stage, read_state

MISSING_AFTER_SECONDS = 60.0


@dataclass(frozen=True)
class Change:
    """A Pod whose state is another than before."""

    name: str
    state: PodState


@dataclass
class _Known:
    state: PodState
    uid: str
    version: int
    last_known: float


class PodStore:
    """The Pods that are known, by name. Every method that takes news returns what has changed with it."""

    def __init__(self, missing_after_seconds: float = MISSING_AFTER_SECONDS) -> None:
        self._missing_after_seconds = missing_after_seconds
        self._known: dict[str, _Known] = {}

    def state(self, name: str) -> PodState | None:
        """The last known state of a Pod; None: there is none."""
        known = self._known.get(name)
        return None if known is None else known.state

    def saw(self, pod: Mapping[str, Any], now: float) -> list[Change]:
        """The API answered with this Pod: to its creation, in a watch, or when it was asked for it."""
        return self._saw(pod, now, listed=False)

    def _saw(self, pod: Mapping[str, Any], now: float, *, listed: bool) -> list[Change]:
        name, uid, version = _identity(pod)
        known = self._known.get(name)
        if known is not None and known.uid == uid:
            # A list that was asked for after all other news is the truth, whatever its versions: they go back where
            # the cluster's database was restored.
            is_truth = listed and known.last_known <= now
            known.last_known = max(known.last_known, now)
            # News that is overtaken by other news, and news of a Pod that is gone for good.
            if known.state.stage is Stage.GONE or (version < known.version and not is_truth):
                return []
        state = read_state(pod)
        self._known[name] = _Known(state, uid, version, now)
        return [] if known is not None and known.uid == uid and known.state == state else [Change(name, state)]

    def was_deleted(self, pod: Mapping[str, Any], now: float) -> list[Change]:
        """The watch says that this Pod was deleted; `pod` is its last JSON, which may tell why."""
        name, uid, version = _identity(pod)
        known = self._known.get(name)
        if known is not None and (known.uid != uid or known.state.stage is Stage.GONE):
            return []
        last = read_state(pod)
        state = last if last.stage.over else _gone(last)
        self._known[name] = _Known(PodState(Stage.GONE, state.reason, state.cause), uid, version, now)
        return [Change(name, self._known[name].state)]

    def was_listed(self, pods: Iterable[Mapping[str, Any]], *, asked_at: float) -> list[Change]:
        """A list that is complete and succeeded; nothing else may be given here.

        Args:
            pods: All Pods of the session.
            asked_at: When the list was asked for: what is in it is at least as new.
        """
        changes: list[Change] = []
        listed = set()
        for pod in pods:
            listed.add(_identity(pod)[0])
            changes += self._saw(pod, asked_at, listed=True)
        for name, known in self._known.items():
            if name in listed or known.state.stage is Stage.GONE:
                continue
            if asked_at - known.last_known >= self._missing_after_seconds:
                known.state = _gone(known.state)
                changes.append(Change(name, known.state))
        return changes

    def was_replaced(self, name: str) -> list[Change]:
        """Another Pod has this name, so that the one that is known is gone."""
        known = self._known.get(name)
        if known is None or known.state.stage is Stage.GONE:
            return []
        known.state = _gone(known.state)
        return [Change(name, known.state)]

    def forget(self, name: str) -> None:
        """Forgets a Pod."""
        self._known.pop(name, None)


def _gone(last: PodState) -> PodState:
    if last.stage.over:
        return PodState(Stage.GONE, last.reason, last.cause)
    if last.reason and last.stage is not Stage.STARTING:
        return PodState(Stage.GONE, f"{GONE.reason} ({last.reason})", last.cause)
    return GONE


def _identity(pod: Mapping[str, Any]) -> tuple[str, str, int]:
    metadata = pod.get("metadata") or {}
    version = str(metadata.get("resourceVersion") or "")
    return str(metadata.get("name")), str(metadata.get("uid")), int(version) if version.isdigit() else 0
