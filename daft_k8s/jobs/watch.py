"""The progress of a run, from the Lease and the Pods of its session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import Console
from daft_k8s.kube.inventory.sessions import SessionView, find_sessions
from daft_k8s.observe.session_summary import SessionSummary
from daft_k8s.units import format_size, format_time

LOOK_SECONDS = 2.0
"""Drivers write their Leases every five seconds; Pods change at any time."""


@dataclass
class Progress:
    """A run as it was last seen."""

    seconds: float = 0.0
    """Since its Job was made."""
    ready: int = 0
    """Workers whose Pods are ready."""
    wanted: int = 0
    live: SessionSummary = field(default_factory=SessionSummary)
    """The figures that the driver publishes, some seconds old."""


@dataclass
class Story:
    """The milestones of a run, and its summary in the end. Pure: `now` counts from the creation of the Job."""

    driver_seconds: float | None = None
    """The time at which the driver ran."""
    workers_seconds: float | None = None
    """The time at which all workers that were wanted were ready."""
    progress: Progress = field(default_factory=Progress)
    most_held_bytes: int = 0
    _told_first: bool = False

    def driver_runs(self, now: float, node: str) -> str:
        """The driver's container has started."""
        self.driver_seconds = now
        return f"driver runs{f' on {node}' if node else ''} ({now:.1f} s)"

    def see(self, view: SessionView, now: float) -> list[str]:
        """Takes in what the session looks like; returns the lines that are to be told."""
        live = view.live or self.progress.live  # a session that ends takes its Lease away first
        self.progress = Progress(now, max(view.ready, live.ready), max(view.wanted, live.wanted), live)
        self.most_held_bytes = max(self.most_held_bytes, live.held_bytes + live.spilled_bytes)
        ready, wanted = self.progress.ready, self.progress.wanted
        words = f"{ready}/{wanted} workers ({now:.1f} s)"
        if self.workers_seconds is None and ready and ready >= wanted:
            self.workers_seconds = now
            return [words]
        if not self._told_first and ready and self.workers_seconds is None:
            self._told_first = True
            return [words]
        return []

    def summary(self, code: int, now: float) -> str:
        """One line about the whole run."""
        outcome = "succeeded" if code == 0 else f"failed with code {code}"
        parts = [f"{outcome} after {format_time(now)}"]
        times = [
            *([f"the driver ran after {self.driver_seconds:.1f} s"] if self.driver_seconds is not None else []),
            *([f"all workers after {self.workers_seconds:.1f} s"] if self.workers_seconds is not None else []),
        ]
        live = self.progress.live
        if live.done or live.failed:
            # The last that was told; a session takes its Lease away when it ends.
            parts.append(f"at least {live.done} tasks done{f', {live.failed} failed' if live.failed else ''}")
        if self.most_held_bytes:
            parts.append(f"at most {format_size(self.most_held_bytes)} seen held")
        return "; ".join([*parts, *([", ".join(times)] if times else [])])


async def watch(
    console: Console,
    pod: str,
    story: Story,
    *,
    clock: Callable[[], float],
    report: Callable[[str], None],
    show: Callable[[Progress], None],
) -> None:
    """Looks at the session of a driver again and again, until it is cancelled.

    Args:
        console: The cluster.
        pod: The driver's Pod.
        story: Takes in what is seen.
        clock: The seconds since the Job was made.
        report: Is given each line of progress.
        show: Is given what was seen last.
    """
    while True:
        try:
            views = [view for view in await find_sessions(console) if view.driver == pod]
        except ClusterError:
            views = []  # a moment without an answer; the log goes on
        for view in views:
            for line in story.see(view, clock()):
                report(line)
        story.progress.seconds = clock()
        show(story.progress)
        await asyncio.sleep(LOOK_SECONDS)
