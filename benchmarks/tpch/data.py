"""TPC-H tables at a scale factor, as Parquet that every engine reads, generated once into a cache directory.

The generator is `tpchgen-cli`. Its own Parquet declares string views, which Daft refuses, so every part is
rewritten with pyarrow, one row group at a time: memory stays at one row group whatever the scale factor.
Money stays `decimal(15, 2)`: with floats, query 15 compares two differently rounded sums and finds no row.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

CACHE_ROOT = Path(__file__).resolve().parents[2] / ".cache" / "tpch"

ROW_GROUP_ROWS = 131_072
"""Rows in a row group of the generated files; a task may be cut at any row group."""

ROWS_PER_PART = {"lineitem": 1_000_000, "orders": 500_000, "partsupp": 500_000, "customer": 250_000, "part": 250_000}
"""Rows in a file of each big table; a million rows of lineitem are about 200 MB in memory."""

ROWS_AT_SF1 = {
    "region": 5,
    "nation": 25,
    "supplier": 10_000,
    "customer": 150_000,
    "part": 200_000,
    "partsupp": 800_000,
    "orders": 1_500_000,
    "lineitem": 6_001_215,
}
TABLES = tuple(ROWS_AT_SF1)

MINIMUM_ROWS_TO_SPLIT = 100_000
MAXIMUM_PARTS = 512
MAXIMUM_PARTS_AT_ONCE = 64
"""Up to here the generator writes all parts of a table in one call (it takes a second to start); beyond, one by one,
so that the disk holds one unrewritten part and not a whole table."""

GENERATOR_TIMEOUT_SECONDS = 1800
MANIFEST = "manifest.json"
LAYOUT_VERSION = 1
"""Raised when files of an older layout must not be reused."""


class GenerationError(RuntimeError):
    """The generator is missing, failed, or left something that is not the table asked for."""


def table_parts(table: str, scale_factor: float) -> int:
    """How many files `table` is written to at `scale_factor`."""
    rows = ROWS_AT_SF1[table] * scale_factor
    if table not in ROWS_PER_PART or rows < MINIMUM_ROWS_TO_SPLIT:
        return 1
    return min(MAXIMUM_PARTS, max(2, math.ceil(rows / ROWS_PER_PART[table])))


def directory_of(scale_factor: float, cache_root: Path | None = None) -> Path:
    """Where the tables of `scale_factor` lie, generated or not."""
    if not scale_factor > 0 or math.isinf(scale_factor):
        raise ValueError(f"the scale factor must be a positive number, not {scale_factor}")
    return (cache_root or CACHE_ROOT) / f"sf{scale_factor:g}"


def generate(
    scale_factor: float, *, cache_root: Path | None = None, progress: Callable[[str, int, int], None] | None = None
) -> Path:
    """Makes sure that the eight tables exist and returns their directory, `<cache>/sf<N>/<table>/*.parquet`.

    Files appear in `sf<N>.partial` one by one (each renamed when complete) and the directory is renamed at the
    end, so an interrupted run leaves nothing that looks finished and the next one goes on where it stopped.

    Args:
        scale_factor: 1 is about 1 GB of text; may be below 1.
        cache_root: Where data of all scale factors lie; `<repository>/.cache/tpch` unless given.
        progress: Called as `progress(table, files_done, files_in_all)` after every file.

    Raises:
        GenerationError: The generator is missing, failed, or its output has the wrong shape.
    """
    target = directory_of(scale_factor, cache_root)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_name(f"{target.name}.lock")):
        if _is_complete(target):
            return target
        partial = target.with_name(f"{target.name}.partial")
        partial.mkdir(exist_ok=True)
        total = sum(table_parts(table, scale_factor) for table in TABLES)
        rows = dict.fromkeys(TABLES, 0)
        for done, (table, part_rows) in enumerate(_write_tables(partial, scale_factor), start=1):
            rows[table] += part_rows
            if progress is not None:
                progress(table, done, total)
        manifest = {"layout": LAYOUT_VERSION, "scale_factor": scale_factor, "rows": rows}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        shutil.rmtree(partial / "raw", ignore_errors=True)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    return target


def files_of(data: Path, table: str) -> list[str]:
    """The Parquet files of a generated table, in order."""
    files = sorted(str(path) for path in (data / table).glob("*.parquet"))
    if not files:
        raise GenerationError(f"{data} holds no files of table {table}: generate the data first")
    return files


def _is_complete(target: Path) -> bool:
    try:
        manifest = json.loads((target / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("layout") == LAYOUT_VERSION


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two runs must not write the same files; the lock ends with the process, whatever ends it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _generator() -> str:
    beside_python = Path(sys.executable).with_name("tpchgen-cli")
    found = str(beside_python) if beside_python.exists() else shutil.which("tpchgen-cli")
    if found is None:
        raise GenerationError("tpchgen-cli is not installed; install the package 'tpchgen-cli'")
    return found


def _write_tables(partial: Path, scale_factor: float) -> Iterator[tuple[str, int]]:
    """Generates and rewrites the files that are not there yet; yields the table and rows of every file."""
    raw = partial / "raw"
    whole = [table for table in TABLES if table_parts(table, scale_factor) == 1]
    missing = [table for table in whole if not _final(partial, table, part=1, parts=1).exists()]
    sources = _run_generator(raw, missing, scale_factor) if missing else {}
    for table in whole:
        yield table, _rewrite_once(sources.get((table, 0)), _final(partial, table, part=1, parts=1))
    for table in TABLES:
        if table not in whole:
            for rows in _write_parts(partial, raw, table, scale_factor):
                yield table, rows


def _write_parts(partial: Path, raw: Path, table: str, scale_factor: float) -> Iterator[int]:
    parts = table_parts(table, scale_factor)
    finals = {part: _final(partial, table, part=part, parts=parts) for part in range(1, parts + 1)}
    at_once = parts <= MAXIMUM_PARTS_AT_ONCE and not any(final.exists() for final in finals.values())
    sources = _run_generator(raw, [table], scale_factor, parts=parts) if at_once else {}
    for part, final in finals.items():
        if not at_once and not final.exists():
            sources = _run_generator(raw, [table], scale_factor, parts=parts, part=part)
        yield _rewrite_once(sources.get((table, part)), final)


def _final(partial: Path, table: str, *, part: int, parts: int) -> Path:
    return partial / table / f"{table}-{part:04d}-of-{parts:04d}.parquet"


def _rewrite_once(source: Path | None, final: Path) -> int:
    """The rows of `final`, which is made from `source` unless it is there from an earlier run."""
    if final.exists():
        return int(pq.read_metadata(final).num_rows)
    if source is None:
        raise GenerationError(f"tpchgen-cli left no file for {final.name}")
    final.parent.mkdir(exist_ok=True)
    rows = rewrite(source, final)
    source.unlink()
    return rows


def _run_generator(
    raw: Path, tables: list[str], scale_factor: float, *, parts: int = 1, part: int | None = None
) -> dict[tuple[str, int], Path]:
    """Runs tpchgen-cli for whole tables, all parts, or one part; returns its files by table and part (0: whole)."""
    shutil.rmtree(raw, ignore_errors=True)
    command = [_generator(), "parquet", "--scale-factor", f"{scale_factor:g}", "--output-dir", str(raw)]
    command += ["--tables", ",".join(tables), "--no-progress", "--quiet"]
    if parts > 1:
        command += ["--parts", str(parts)]
    if part is not None:
        command += ["--part", str(part)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=GENERATOR_TIMEOUT_SECONDS, check=False)
    if result.returncode != 0:
        detail = (result.stderr or result.stdout).strip()[-500:]
        raise GenerationError(f"tpchgen-cli failed for {', '.join(tables)} at scale factor {scale_factor:g}: {detail}")
    return {_table_and_part(path): path for path in raw.rglob("*.parquet")}


def _table_and_part(path: Path) -> tuple[str, int]:
    """`lineitem.12.parquet` -> ("lineitem", 12); the name of a whole table carries no number."""
    table, middle = path.name.split(".")[:2]
    return table, int(middle) if middle.isdigit() else 0


def rewrite(source: Path, target: Path) -> int:
    """Copies a Parquet file with plain strings in place of string views; atomic, one row group in memory."""
    reader = pq.ParquetFile(source, memory_map=True)
    schema = pa.schema([_plain_field(field) for field in reader.schema_arrow])
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    rows = 0
    # Comments hardly repeat: a dictionary would only be built to be thrown away.
    dictionary = [field.name for field in schema if not field.name.endswith("_comment")]
    try:
        with pq.ParquetWriter(temporary, schema, compression="snappy", use_dictionary=dictionary) as writer:
            for batch in reader.iter_batches(batch_size=ROW_GROUP_ROWS):
                writer.write_table(pa.Table.from_batches([batch]).cast(schema), row_group_size=ROW_GROUP_ROWS)
                rows += batch.num_rows
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _plain_field(field: pa.Field) -> pa.Field:
    plain = pa.string() if pa.types.is_string_view(field.type) else field.type
    return pa.field(field.name, plain, nullable=False)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tpch.data", description="Generate TPC-H data.")
    parser.add_argument("--scale-factor", type=float, default=1.0)
    parser.add_argument("--cache", type=Path, default=None, help="directory for the data of all scale factors")
    options = parser.parse_args(arguments)
    path = generate(
        options.scale_factor,
        cache_root=options.cache,
        progress=lambda table, done, total: print(f"{done:4d}/{total} {table}", flush=True),
    )
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
