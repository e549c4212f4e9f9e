"""Sessions, their queries and workers, and runs, as tables of text.

Each has a form for 80 columns and one for wide terminals, which is also that of files and pipes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from daft_k8s.cli.output import cell, new_table
from daft_k8s.kube.inventory.runs import RunState, RunView
from daft_k8s.kube.inventory.sessions import Life, SessionView, WorkerView
from daft_k8s.units import UNKNOWN, format_amount, format_size, format_time

WIDE_COLUMNS = 120
"""The width from which on tables have all their columns."""
_BAR_COLUMNS = 12

_LIFE_STYLES = {Life.ALIVE: "green", Life.DEAD: "red", Life.SILENT: "yellow", Life.UNKNOWN: "dim"}
_RUN_STYLES = {
    RunState.STARTING: "yellow",
    RunState.RUNNING: "green",
    RunState.SUCCEEDED: "green",
    RunState.FAILED: "red",
    RunState.LOST: "red",
}


def session_parts(views: Sequence[SessionView], console: Console) -> Iterator[RenderableType]:
    """All that there is to show of sessions, from the top to the bottom."""
    wide = console.width >= WIDE_COLUMNS
    bars = console.is_terminal
    if not views:
        return
    yield _sessions(views, wide=wide)
    for view in views:
        yield Text()
        yield _heading(view)
        if view.live is not None and view.live.queries and view.life is not Life.DEAD:
            yield _queries(view, bars=bars)
            yield Text()
        if view.workers:
            yield _workers(view.workers, wide=wide, bars=bars)
        else:
            yield Text("no workers", style="dim")


def run_table(views: Sequence[RunView]) -> Table:
    """Runs with their outcomes."""
    table = new_table("run", "state", "code", "age", "took")
    table.add_column("REASON", overflow="fold")
    for view in views:
        table.add_row(
            cell(view.run),
            cell(view.state.value, _RUN_STYLES[view.state]),
            cell(UNKNOWN if view.exit_code is None else view.exit_code),
            cell(format_time(view.age_seconds)),
            cell(format_time(view.duration_seconds)),
            cell(view.reason),
        )
    return table


def _sessions(views: Sequence[SessionView], *, wide: bool) -> Table:
    columns = ["session", "state", "driver", "workers", "running", "waiting", "done", "failed", "seen"]
    if wide:
        columns = [*columns[:3], "owner", "workers", "queries", *columns[4:8], "held", "spilled", "age", "seen"]
    table = new_table(*columns)
    table.columns[2].no_wrap = False  # gives way first; the whole name stands above the session's workers
    for view in views:
        live = view.live
        now = None if view.life is Life.DEAD else live  # the last that a dead driver told is no more so
        counts: list[object] = [UNKNOWN, UNKNOWN] if now is None else [now.running, now.waiting]
        counts += [UNKNOWN, UNKNOWN] if live is None else [live.done, live.failed]
        driver = cell(view.driver)
        driver.no_wrap, driver.overflow = True, "ellipsis"
        row: list[object] = [view.session, cell(view.life.value, _LIFE_STYLES[view.life]), driver]
        if wide:
            row.append(view.owner)
        row.append(f"{view.ready}/{view.wanted}")
        if wide:
            row.append(UNKNOWN if now is None else now.running_queries)
        row += counts
        if wide:
            row.append(format_size(None if now is None else now.held_bytes))
            row.append(format_size(None if now is None else now.spilled_bytes))
            row.append(format_time(view.age_seconds))
        row.append(format_time(view.seen_seconds))
        table.add_row(*(item if isinstance(item, Text) else cell(item) for item in row))
    return table


def _heading(view: SessionView) -> Text:
    parts = [f"driver {view.driver}", *([view.owner] if view.owner else []), f"up {format_time(view.age_seconds)}"]
    live = view.live
    if view.life is Life.DEAD:
        seen = f", silent for {format_time(view.seen_seconds)}" if view.seen_seconds is not None else ""
        parts = [parts[0], f"dead{seen}: daft-k8s clean {view.session} removes what is left"]
    elif live is not None and (live.held_bytes or live.spilled_bytes):
        parts.append(f"{format_size(live.held_bytes)} held, {format_size(live.spilled_bytes)} spilled")
    heading = Text(f"{view.session}:", style="bold")
    return heading.append_text(cell(f" {', '.join(parts)}", "red" if view.life is Life.DEAD else "not bold"))


def _queries(view: SessionView, *, bars: bool) -> Table:
    live = view.live
    queries = () if live is None else live.queries
    table = new_table("query", "for", "done", "tasks so far", *([""] if bars else []))
    for item in queries:
        row: list[RenderableType] = [
            cell(item.query),
            cell(format_time(item.seconds)),
            cell(item.done),
            cell(item.tasks),
        ]
        table.add_row(*row, *([_bar(item.done, item.tasks)] if bars else []))
    more = 0 if live is None else live.running_queries - len(queries)
    if more > 0:
        table.add_row(cell(f"({more} more)"))
    return table


def _workers(workers: Sequence[WorkerView], *, wide: bool, bars: bool) -> Table:
    used = any(worker.used_memory_bytes is not None for worker in workers)
    table = new_table("worker", "state", *(("pod", "node", "cpu", "limit") if wide else ()))
    table.columns[1].no_wrap = False  # a reason may be long
    more = [*(("used cpu", "used") if used and wide else ()), "tasks", *([""] if bars else []), "resident"]
    for column in [*more, "held", "spilled", *(("age",) if wide else ())]:
        table.add_column(column.upper(), no_wrap=True)
    for worker in workers:
        live = worker.live
        row: list[RenderableType] = [cell(worker.worker), cell(worker.state, _state_style(worker))]
        if wide:
            row += [cell(worker.pod), cell(worker.node), cell(format_amount(worker.cpu))]
            row.append(cell(format_size(worker.memory_bytes)))
        if used and wide:
            row += [cell(format_amount(worker.used_cpu)), cell(format_size(worker.used_memory_bytes))]
        resident = worker.used_memory_bytes if live is None else live.resident_bytes
        row.append(cell(UNKNOWN if live is None else live.tasks))
        if bars:
            row.append(_bar(resident, worker.memory_bytes))
        row.append(cell(format_size(resident)))
        row.append(cell(format_size(None if live is None else live.held_bytes)))
        row.append(cell(format_size(None if live is None else live.spilled_bytes)))
        if wide:
            row.append(cell(format_time(worker.age_seconds)))
        table.add_row(*row)
    return table


def _bar(part: int | None, whole: int | None) -> RenderableType:
    if part is None or not whole:
        return Text()
    full = part > 0.9 * whole
    return ProgressBar(
        total=whole, completed=min(part, whole), width=_BAR_COLUMNS, complete_style="yellow" if full else "cyan",
        finished_style="cyan",
    )  # fmt: skip


def _state_style(worker: WorkerView) -> str:
    if worker.ready:
        return "green"
    return "red" if "orphan" in worker.state or "fail" in worker.state else "yellow"
