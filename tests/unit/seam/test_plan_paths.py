"""Paths in the text of a plan, as Daft prints it in terminals of any width. Daft makes the plans.

Not covered: what is refused (test_pod_paths.py).
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import daft
import pytest
from daft.context import get_context
from daft.daft import DistributedPhysicalPlan

from daft_k8s.path_rules import disk_path, is_below
from daft_k8s.seam.plan_paths import PlannedPath, find_paths, has_uploads


def text_of(df: daft.DataFrame) -> str:
    config = get_context().daft_execution_config
    builder = df._builder.optimize(config)._builder
    text: str = DistributedPhysicalPlan.from_logical_plan_builder(builder, "query", config).repr_ascii(False)
    return text


def found(text: str) -> set[tuple[str, bool]]:
    return {(form, path.writing) for path in find_paths(text) for form in path.forms}


@pytest.fixture
def table(tmp_path: Path) -> str:
    folder = tmp_path / "a folder with a long name, spaces and a comma" / "and-hyphens-too" / "and one more"
    folder.mkdir(parents=True)
    (folder / "x.csv").write_text("a\n1\n")
    return str(folder / "x.csv")


def test_files_patterns_and_constants_are_found(table: str) -> None:
    assert (f"file://{table}", False) in found(text_of(daft.read_csv(table)))
    assert (table, False) in found(text_of(daft.from_glob_path([table, "s3://bucket/*.csv"])))
    assert ("s3://bucket/*.csv", False) in found(text_of(daft.from_glob_path([table, "s3://bucket/*.csv"])))
    both = daft.read_csv(table).join(daft.from_glob_path("/other/*"), left_on="a", right_on="size")
    assert {(f"file://{table}", False), ("/other/*", False)} <= found(text_of(both))
    named = daft.range(1).select(daft.lit(table).download(), daft.functions.file(daft.lit(table)).alias("f"))
    assert (table, False) in found(text_of(named))
    data = daft.range(1).select(daft.lit(b"x").upload(table))
    assert (table, True) in found(text_of(data))


def test_the_places_of_sinks_are_found() -> None:
    builder, config = daft.range(1)._builder, daft.io.IOConfig()
    for path in ("/data/a table", "s3://bucket/table"):
        delta = daft.DataFrame(builder.write_deltalake(path, "append", 0, False, config))
        assert (path, True) in found(text_of(delta))
        lance = daft.DataFrame(builder.write_lance(path, "create", config, None))
        assert (path, True) in found(text_of(lance))


def test_an_upload_to_places_that_the_data_say_is_unknown_unless_it_is_checked() -> None:
    data = daft.from_pydict({"x": [b"x"], "to": ["/somewhere"]})
    text = text_of(data.select(daft.col("x").upload(daft.col("to"))))
    assert list(find_paths(text)) == [PlannedPath(("col(1: to)",), writing=True, unknown=True)]
    assert not list(find_paths(text + "\n* UDF location_seen_by_driver:"))


def test_the_time_grows_with_the_plan_and_no_faster() -> None:
    many = [f"s3://bucket/a/folder/{number}/*.parquet" for number in range(40_000)]
    text = text_of(daft.from_glob_path(many))
    begin = time.monotonic()
    assert [path.forms[0] for path in find_paths(text)] == many
    assert time.monotonic() - begin < 15  # it takes less than one second; with the square, more than a minute


def test_data_and_predicates_are_no_paths() -> None:
    df = daft.from_pydict({"file": ["file:///x", "/x"], "a": [1, 2]})
    df = df.where((daft.col("file") == "file:///y") | daft.col("file").endswith("/z")).sort("a")
    assert not list(find_paths(text_of(df)))


WIDE_SCRIPT = """
import sys
from tests.unit.seam.test_plan_paths import daft, text_of
df = daft.read_csv(sys.argv[1]).concat(daft.read_csv(sys.argv[1])).join(
    daft.from_glob_path(sys.argv[1]), left_on="a", right_on="size"
)
df = df.select(daft.lit(b"x").upload(sys.argv[1]), daft.lit(sys.argv[1]).download().alias("d"))
from daft.daft import FileFormat, WriteMode
builder = df._builder.write_tabular(sys.argv[1], WriteMode.Append, FileFormat.Csv, daft.io.IOConfig())
text = text_of(daft.DataFrame(builder))
open(sys.argv[2], "w").write(text)
"""


@pytest.mark.parametrize("columns", [36, 60, 400])
def test_a_line_that_a_narrow_terminal_breaks_is_put_together(columns: int, table: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    root = Path(__file__).parents[3]
    command = [sys.executable, "-W", "ignore", "-c", WIDE_SCRIPT, table, str(tmp_path / "text")]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    try:
        subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, check=True, timeout=60, env=environment)
    finally:
        os.close(theirs)
        os.close(ours)
    text = (tmp_path / "text").read_text()
    assert (max(map(len, text.splitlines())) > 100) == (columns == 400)
    if columns > 36:  # where a path is broken so often, only its beginning is read in every way
        assert {(f"file://{table}", False), (table, False), (table, True)} <= found(text), text
    folder = os.path.commonpath([table, str(tmp_path)])
    for path in find_paths(text):
        assert any(is_below(disk_path(form) or "", folder) for form in path.forms), text
    assert len(list(find_paths(text))) == 6


def test_an_upload_is_found_in_a_plan_wherever_its_line_is_broken(tmp_path: Path) -> None:
    data = daft.from_pydict({"data": [b"x"]})
    text = text_of(data.select(daft.col("data").upload(str(tmp_path))))
    assert has_uploads(text)
    assert not has_uploads(text_of(data.where(daft.col("data") == b"url_upload")))
    (line,) = [line for line in text.splitlines() if "url_upload(" in line]
    before, after = line.split("url_upload(", 1)
    start = line[: len(line) - len(line.lstrip("|* "))]
    assert has_uploads(text.replace(line, f"{before}url_upload\n{start}  ({after}"))
