"""Runs one SQL query as a driver and prints its rows: `python -m daft_k8s.cli.query '{"query": ...}'`."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import daft

FAILED = 1


def main() -> int:
    """Runs what the first argument says; returns the exit code."""
    spec = json.loads(sys.argv[1])
    import daft

    import daft_k8s
    from daft_k8s.errors import DaftK8sError

    try:
        session = daft_k8s.set_runner_k8s(working_dir="none")
        with session:
            tables = {name: read(path) for name, path in spec["tables"].items()}
            frame = daft.sql(spec["query"], **tables)  # type: ignore[arg-type]  # names of tables
            if spec["write"]:
                written = frame.write_parquet(spec["write"]).to_pydict()
                print(f"wrote {len(written['path'])} files to {spec['write']}")
            else:
                show(frame, limit=spec["limit"], output=spec["output"])
    except DaftK8sError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except Exception as error:  # the query's own: its text says what is wrong, a traceback through Daft does not
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        for remark in getattr(error, "__notes__", ()):
            print(remark, file=sys.stderr)
        return FAILED
    return 0


def read(path: str) -> daft.DataFrame:
    """The files of a path or pattern, read by the ending."""
    import daft

    ending = path.rstrip("*").rstrip("/").rpartition(".")[2].lower()
    if ending == "csv":
        return daft.read_csv(path)
    if ending in ("json", "jsonl", "ndjson"):
        return daft.read_json(path)
    return daft.read_parquet(path)


def show(frame: daft.DataFrame, *, limit: int, output: str) -> None:
    """Prints rows; people are told if there are more."""
    shown = frame.limit(limit + 1) if limit else frame
    columns: dict[str, list[Any]] = shown.to_pydict()
    names = list(columns)
    rows = list(zip(*columns.values(), strict=True))
    more = bool(limit) and len(rows) > limit
    rows = rows[:limit] if limit else rows
    if output == "json":
        for row in rows:
            print(json.dumps(dict(zip(names, row, strict=True)), default=str))
    elif output == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows(rows)
    else:
        from rich.table import Column, Table

        from daft_k8s.cli.output import cell, text_console

        table = Table(
            *(Column(cell(name)) for name in names), box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold"
        )
        for row in rows:
            table.add_row(*map(cell, row))
        text_console(limited=False).print(table)
        print(f"({len(rows)} row{'s' * (len(rows) != 1)})")
    if more:
        print(f"there are more rows; --limit 0 prints all, --limit {limit * 10} more", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
