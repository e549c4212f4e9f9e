"""`daft-k8s logs`."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import click

from daft_k8s.cli import exit_codes
from daft_k8s.cli.output import fail, note, output_option, reports_errors, write_line
from daft_k8s.cli.place import open_place, place_options, sessions_and_runs
from daft_k8s.errors import ClusterError
from daft_k8s.kube.inventory.logs import Source, copy_log, find_sources, follow, has_no_pods

_BEGINS_RECORD = re.compile(r"\d{4}-\d\d-\d\d|[{\[(]")
"""The begin of a record in a log; the lines of a traceback begin in other ways."""
_DRIVER = "driver"
_OF_A_WORKER = re.compile(r"\((worker-\d+)\) ")


@click.command(name="logs")
@click.argument("name", shell_complete=sessions_and_runs)
@place_options
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the Pods have ended.")
@click.option("--worker", help="Only this worker, e.g. worker-0; or driver.")
@click.option("--query", help="Only lines that name this query.")
@click.option("--tail", type=int, help="Only the last lines of each Pod.")
@output_option
@reports_errors
def command(
    *,
    name: str,
    following: bool,
    worker: str | None,
    query: str | None,
    tail: int | None,
    output: str,
    **place: Any,
) -> None:
    """Show the logs of a driver and its workers.

    NAME is a run (as `daft-k8s run` prints it), a session, or the name of a driver's Pod.

    \b
    Examples:
      daft-k8s logs -n jobs -f daft-job-3fa9c1
      daft-k8s logs 4f1c09aa23b7 --worker worker-0 --tail 50
    """
    wanted = {"follow": "true"} if following else {}
    if tail is not None:
        wanted["tailLines"] = str(tail)

    async def main() -> tuple[str, int]:
        async with open_place(**place) as console:
            printer = _Printer(output, query, prefixed=worker is None)

            async def find() -> list[Source]:
                found = [item for item in await find_sources(console, name) if worker in (None, item.name)]
                printer.own_logs.update(item.name for item in found)
                return found

            if following:
                found = await follow(console, name, find, wanted, printer)
            else:
                sources = await find()
                found = len(sources)
                await asyncio.gather(*(copy_log(console, source, wanted, printer) for source in sources))
            if found and query is not None and not printer.count:
                note(f"no line names the query {query}: workers name it where its tasks fail")
            if found or not await has_no_pods(console, name):
                return console.place, found
            note(
                f"the session {name} has no Pods now: no worker, and its driver runs elsewhere or is gone; "
                f"`daft-k8s status {name}` shows what it does"
            )
            return console.place, 1

    where, found = asyncio.run(main())
    if not found:
        which = f" with the worker {worker}" if worker else ""
        fail(
            f"there is no run, session or driver {name!r}{which} in {where}; `daft-k8s status` lists sessions, "
            "`daft-k8s runs` runs",
            exit_codes.NOT_FOUND,
        )


class _Printer:
    def __init__(self, output: str, query: str | None, *, prefixed: bool) -> None:
        self._json = output == "json"
        self._query = query
        self._prefixed = prefixed
        self._shown: dict[Source, bool] = {}
        """True for a source whose last record was printed: lines without a time after it belong to it."""
        self.own_logs: set[str] = set()
        """The sources that are printed. The driver prints lines of its workers, too."""
        self.count = 0

    def line(self, source: Source, line: str) -> None:
        if source.name == _DRIVER and (worker := _OF_A_WORKER.match(line)) and worker[1] in self.own_logs:
            return
        if self._query is not None:
            if _BEGINS_RECORD.match(line) or self._query in line:
                self._shown[source] = self._query in line
            if not self._shown.get(source, False):
                return
        self.count += 1
        if self._json:
            write_line(json.dumps({"source": source.name, "pod": source.pod, "line": line}))
        else:
            write_line(line, source.name if self._prefixed else "")

    def failed(self, source: Source, error: ClusterError) -> None:
        note(f"({source.name}) no log: {error}")
