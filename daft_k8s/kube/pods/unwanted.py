"""Pods of the session that no launch wants: their deletion failed, or their creation took effect late. Pure.

The only complete knowledge of what a session has in the cluster is a complete list. Whatever the driver has asked for
or given up, a Pod that lists go on showing holds room, and may start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


class Unwanted:
    """Remembers since when lists show Pods that no launch wants. Times are arguments, in seconds.

    Args:
        grace_seconds: For how long a Pod is left to the deletion that is already under way.
    """

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._since: dict[str, float] = {}

    def was_listed(
        self, pods: Iterable[Mapping[str, Any]], is_wanted: Callable[[Mapping[str, Any]], bool], *, asked_at: float
    ) -> list[str]:
        """The names of the Pods that are due to be deleted now; each comes again after another grace.

        Args:
            pods: A complete list of the session's Pods.
            is_wanted: True for a Pod that belongs to a launch, or is kept for its log.
            asked_at: When the list was asked for.
        """
        found = [_name(pod) for pod in pods if not _is_going(pod) and not is_wanted(pod)]
        self._since = {name: self._since.get(name, asked_at) for name in found}
        due = [name for name, since in self._since.items() if asked_at - since >= self._grace_seconds]
        self._since.update(dict.fromkeys(due, asked_at))
        return due


def _name(pod: Mapping[str, Any]) -> str:
    return str((pod.get("metadata") or {}).get("name"))


def _is_going(pod: Mapping[str, Any]) -> bool:
    return bool((pod.get("metadata") or {}).get("deletionTimestamp"))
