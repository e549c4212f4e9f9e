"""The one line below the log of a run that tells what it does, on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from daft_k8s.cli.output import cell
from daft_k8s.jobs.watch import Progress
from daft_k8s.printable import is_terminal
from daft_k8s.units import format_size, format_time

_BAR_COLUMNS = 12


@contextlib.contextmanager
def live_line() -> Iterator[Callable[[Progress], None]]:
    """Shows a line that changes, below whatever is written meanwhile; nothing without a terminal."""
    if not is_terminal(sys.stderr):
        yield lambda _progress: None
        return
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    # A log that goes into a file or a pipe stays there.
    with Live(console=console, transient=True, auto_refresh=False, redirect_stdout=is_terminal(sys.stdout)) as live:
        yield lambda progress: live.update(line_of(progress), refresh=True)


def line_of(progress: Progress) -> RenderableType:
    """One line: seconds, workers, and of the query that runs longest its tasks and name; bytes."""
    live = progress.live
    workers = f"{progress.ready}/{progress.wanted} workers" if progress.wanted else "no workers yet"
    fixed: list[RenderableType] = [cell(format_time(progress.seconds), "dim"), cell(workers)]
    flexible: list[Text] = []
    if live.queries:
        query = live.queries[0]
        done = min(query.done, query.tasks)
        fixed.append(ProgressBar(total=query.tasks or 1, completed=done, width=_BAR_COLUMNS, complete_style="cyan"))
        fixed.append(cell(f"{done}/{query.tasks} tasks"))
        flexible.append(cell(query.query, "dim"))
    if live.held_bytes or live.spilled_bytes:
        spilled = f", {format_size(live.spilled_bytes)} spilled" if live.spilled_bytes else ""
        fixed.append(cell(f"{format_size(live.held_bytes)} held{spilled}"))
    line = Table.grid(*("" for _ in (*fixed, *flexible)), padding=(0, 2, 0, 0))
    for number, column in enumerate(line.columns):
        column.no_wrap = number < len(fixed)  # the others give way first
    for text in flexible:
        text.no_wrap, text.overflow = True, "ellipsis"
    line.add_row(*fixed, *flexible)
    return line
