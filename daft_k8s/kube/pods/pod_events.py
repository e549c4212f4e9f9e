"""The events that Kubernetes writes about a Pod, for what its status does not say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_LONGEST_WORDS = 500


def last_warning(events: Iterable[Mapping[str, Any]], uid: str = "") -> str:
    """Reason and message of the newest warning about a Pod, in one line; "": there is none.

    Args:
        events: Events as the API gives them, in any order.
        uid: The Pod's; "": any Pod of the name that the events are about.
    """
    warnings = [event for event in events if event.get("type") == "Warning" and _is_about(event, uid)]
    if not warnings:
        return ""
    newest = max(warnings, key=_time)
    reason, message = str(newest.get("reason") or ""), " ".join(str(newest.get("message") or "").split())
    return f"{reason}: {message}"[:_LONGEST_WORDS] if message else reason


def _is_about(event: Mapping[str, Any], uid: str) -> bool:
    return not uid or (event.get("involvedObject") or {}).get("uid") in (uid, None)


def _time(event: Mapping[str, Any]) -> str:
    # All are of one form (RFC 3339, UTC), so that their order is that of their text.
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max(str(time or "") for time in times)
