"""The sleep of the driver's machine or process, noticed when it is over. Pure."""

from __future__ import annotations

MIN_SECONDS = 60.0
"""Shorter gaps are those of a busy machine."""


class SleepDetector:
    """Tells of gaps between looks that come every second or so.

    Args:
        now: Seconds of a clock that goes on while the machine is suspended.
    """

    def __init__(self, now: float) -> None:
        self._latest = now

    def look(self, now: float) -> float:
        """The seconds for which nothing has run before this look; 0 if it was no long time.

        Args:
            now: The same clock.
        """
        gap, self._latest = now - self._latest, now
        return gap if gap >= MIN_SECONDS else 0.0


def describe_sleep(slept_seconds: float, orphan_timeout_seconds: float) -> str:
    """One line about a sleep that is over, and what has become of the workers.

    Args:
        slept_seconds: The length of the sleep.
        orphan_timeout_seconds: The time for which workers wait for a driver that does not call.
    """
    words = f"this process or its machine was asleep for {_time(slept_seconds)}"
    waits = f"workers wait {_time(orphan_timeout_seconds)} for their driver (orphan_timeout_seconds)"
    if slept_seconds < orphan_timeout_seconds:
        return f"{words}. The session goes on: {waits}"
    return (
        f"{words}; {waits}, so they have ended. The session goes on with new ones; what the old ones held is lost, and "
        "what was collected must be computed again"
    )


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
