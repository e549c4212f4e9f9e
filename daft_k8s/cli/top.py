"""`daft-k8s top`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from daft_k8s.cli.output import cell, reports_errors, text_console
from daft_k8s.cli.place import open_place, place_options
from daft_k8s.cli.session_tables import session_parts
from daft_k8s.cli.status import Seen, look
from daft_k8s.errors import ClusterError


class Screenful:
    """A renderable, cut to the height of the screen; its last line tells of the lines that are left out."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._content, options.update(height=None), pad=False)
        height = options.max_height
        if len(lines) > height:
            more = len(lines) - height + 1
            words = Text(f"({more} more lines: a taller window, or daft-k8s status)", style="dim")
            lines = [*lines[: height - 1], *console.render_lines(words, options.update(height=1), pad=False)]
        for line in lines:
            yield from line
            yield Segment.line()


@click.command(name="top")
@place_options
@click.option("--interval", type=click.FloatRange(min=0.5), default=2.0, show_default=True, help="In seconds.")
@click.option("--count", type=int, default=0, help="Stop after so many times; 0: never.")
@reports_errors
def command(interval: float, count: int, **place: Any) -> None:
    """Show sessions, queries, tasks and workers again and again, until Ctrl-C.

    Drivers tell what they do every five seconds.

    \b
    Examples:
      daft-k8s top -n jobs
    """
    console = text_console()
    seen: Seen | None = None
    shown = 0
    with contextlib.suppress(KeyboardInterrupt), _screen(console) as refresh:
        while True:
            problem = ""
            try:
                seen = asyncio.run(look(open_place(**place)))
            except ClusterError as error:
                if seen is None:
                    raise
                problem = str(error)
            if seen is not None:
                refresh(picture(seen, console, time.strftime("%H:%M:%S"), problem))
            shown += 1
            if shown == count:
                return
            time.sleep(interval)


def picture(seen: Seen, console: Console, clock: str, problem: str = "") -> Group:
    """One picture of a namespace: what was seen last, under the problem that there is with seeing more."""
    parts: list[RenderableType] = [cell(f"{clock}  {seen.place}", "dim")]
    if problem:
        parts.append(cell(problem, "red"))
    sessions = list(session_parts(seen.sessions, console))
    return Group(*parts, *(sessions or [Text("no sessions")]))


@contextlib.contextmanager
def _screen(console: Console) -> Iterator[Callable[[RenderableType], None]]:
    """Shows pictures in place of each other on a terminal, which looks as before in the end; elsewhere one by one."""
    if not console.is_terminal:
        yield console.print
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda content: live.update(Screenful(content), refresh=True)
