"""Reads and writes paths of every kind in every way, and prints what came of it, as one JSON object.

`test_paths.py` runs this with native Daft and with local workers, and compares. Arguments: `native`, or the options of
`set_runner_k8s` as JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import daft
import pyarrow as pa
import pyarrow.parquet as pq
from daft import DataType, Schema, col, lit
from daft.functions import file
from daft.io import DataSink, DataSource, DataSourceTask
from daft.io.sink import WriteResult
from daft.recordbatch import MicroPartition, RecordBatch

from daft_k8s.handles.pod_paths import PodPaths
from daft_k8s.handles.upload_check import check_locations
from daft_k8s.path_rules import PodFolder

RANDOM = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def found_of(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as error:
        return f"{type(error).__name__}"


@daft.func
def content_of(handle: daft.File) -> str:
    with handle.open() as stream:
        return bytes(stream.read()).decode()


@daft.func
def opened(path: str) -> str:
    with open(os.path.expanduser(path)) as stream:
        return stream.read()


@daft.func(use_process=True)
def opened_by_a_child(path: str) -> str:
    with open(os.path.expanduser(path)) as stream:
        return stream.read()


@daft.func
def saved(path: str, text: str) -> int:
    with open(os.path.expanduser(path), "w") as stream:
        return stream.write(text)


@daft.cls(max_concurrency=1)
class Opener:
    """A UDF in a process of its own."""

    def __init__(self) -> None:
        self.first = os.listdir(".")

    def __call__(self, path: str) -> str:
        with open(os.path.expanduser(path)) as stream:
            return stream.read() + ",".join(sorted(name for name in self.first if name == "data"))


class LinesTask(DataSourceTask):
    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def schema(self) -> Schema:
        return Schema.from_pydict({"line": DataType.string()})

    async def read(self) -> Any:
        with open(os.path.expanduser(self.path)) as stream:
            yield RecordBatch.from_pydict({"line": stream.read().splitlines()})


class Lines(DataSource):
    """A source of the user's own."""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return "lines"

    @property
    def schema(self) -> Schema:
        return Schema.from_pydict({"line": DataType.string()})

    async def get_tasks(self, pushdowns: Any) -> Any:
        yield LinesTask(self.path)


class Dump(DataSink[int]):
    """A sink of the user's own."""

    def __init__(self, path: str) -> None:
        self.path = path

    def schema(self) -> Schema:
        return Schema.from_pydict({"rows": DataType.int64()})

    def write(self, micropartitions: Iterator[MicroPartition]) -> Iterator[WriteResult[int]]:
        for part in micropartitions:
            with open(os.path.expanduser(self.path), "w") as stream:
                stream.write(str(part.to_pydict()["x"]))
            yield WriteResult(result=len(part), rows_written=len(part), bytes_written=0)

    def finalize(self, write_results: list[WriteResult[int]]) -> MicroPartition:
        return MicroPartition.from_pydict({"rows": [result.rows_written for result in write_results]})


def told_by(query: Callable[[], daft.DataFrame]) -> str:
    """The refusal in what a query raises, which Daft and tasks wrap each in their own way."""
    try:
        return str(query().collect())
    except Exception as error:
        found = re.search(r"an upload to '[^']*' is refused", f"{error} {error.__cause__}")
        return found[0] if found else repr(error)


def forms(name: str) -> dict[str, Any]:
    """The ways to write a path below the current folder; home is the folder above."""
    here = pathlib.Path.cwd()
    return {
        "relative": name,
        "dotted": f"./{name}",
        "above": f"../{here.name}/{name}",
        "home": f"~/{here.name}/{name}",
        "absolute": str(here / name),
        "uri": f"file://{here / name}",
        "relative uri": f"file://{name}",
    }


def values(df: daft.DataFrame) -> Any:
    return sorted(str(row) for row in df.to_pylist())


def read_all(form: str, name_of: Callable[[str], str]) -> dict[str, Any]:
    def path(ending: str) -> str:
        return name_of(f"data/x.{ending}")

    text = daft.from_pydict({"path": [path("txt")]})
    actions: dict[str, Callable[[], Any]] = {
        "parquet": lambda: values(daft.read_parquet(path("parquet"), file_path_column="of")),
        "parquets": lambda: values(daft.read_parquet([path("parquet"), path("parquet")])),
        "pattern": lambda: values(daft.read_csv(path("csv").replace("x.csv", "*.csv"))),
        "folder": lambda: values(daft.read_json(path("json").replace("x.json", "**/*.json"))),
        "text": lambda: values(daft.read_text(path("txt"))),
        "glob": lambda: values(daft.from_glob_path(path("txt").replace("x.txt", "*.txt")).select("path")),
        "blob": lambda: values(daft.read_blob(path("txt")).select("content")),
        "files": lambda: values(daft.from_files(path("txt")).select(content_of(col("file")))),
        "sql": lambda: values(daft.sql(f"select a from read_parquet('{path('parquet')}')")),
        "sql name": lambda: values(daft.sql(f"select a from '{path('csv')}'")),
        "download": lambda: values(text.select(col("path").download())),
        "download constant": lambda: values(daft.range(1).select(lit(path("txt")).download())),
        "file": lambda: values(text.select(content_of(file(col("path"))))),
        "udf": lambda: values(text.select(opened(col("path")))),
        "source": lambda: values(Lines(path("txt")).read()),
    }
    if form == "relative":  # each starts a process
        actions["udf process"] = lambda: values(text.select(Opener()(col("path"))))
        actions["udf child"] = lambda: values(text.select(opened_by_a_child(col("path"))))
    return {f"read {name} {form}": found_of(action) for name, action in actions.items()}


def write_all(form: str, name_of: Callable[[str], str]) -> dict[str, Any]:
    rows = daft.from_pydict({"x": [1, 2, 3]})
    data = daft.from_pydict({"x": [b"abc"], "to": [name_of("out/row")]})
    texts = daft.from_pydict({"path": [name_of("out/udf")]})
    actions: dict[str, Callable[[], Any]] = {
        "parquet": lambda: rows.write_parquet(name_of("out/parquet")).to_pydict(),
        "overwrite": lambda: rows.write_parquet(name_of("out/parquet"), write_mode="overwrite").to_pydict(),
        "path": lambda: rows.write_parquet(pathlib.Path(name_of("out/path"))).to_pydict(),
        "parts": lambda: (
            rows.write_csv(name_of("out/csv"), partition_cols=["x"]).select("path").sort("path").to_pydict()
        ),
        "json": lambda: rows.write_json(name_of("out/json")).to_pydict(),
        "upload": lambda: data.select(col("x").upload(name_of("out/folder"))).to_pydict(),
        "upload rows": lambda: data.select(col("x").upload(col("to"))).to_pydict(),
        "sink": lambda: rows.write_sink(Dump(name_of("out/sink"))).to_pydict(),
        "udf": lambda: texts.select(saved(col("path"), lit("abc"))).to_pydict(),
    }
    if form.endswith("uri"):
        del actions["path"]  # a pathlib.Path of a URI is another path
    return {f"write {name} {form}": RANDOM.sub("ID", str(found_of(action))) for name, action in actions.items()}


def files_below(folder: str) -> list[str]:
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            size = os.path.getsize(os.path.join(parent, name))
            found.append(f"{RANDOM.sub('ID', os.path.join(parent, name))} {size}")
    return sorted(found)


def make_data(text: str, folder: str = ".") -> None:
    root = pathlib.Path(folder)
    (root / "data").mkdir()
    (root / "out").mkdir()
    pq.write_table(pa.table({"a": [text]}), root / "data/x.parquet")
    for name, content in (("csv", f"a\n{text}\n"), ("json", json.dumps({"a": text}) + "\n"), ("txt", f"{text}\n")):
        (root / f"data/x.{name}").write_text(content)


def look(name: str) -> dict[str, Any]:
    os.mkdir(name)
    os.chdir(name)
    make_data(f"of {name}")
    found: dict[str, Any] = {}
    for form in forms("x"):
        found |= read_all(form, lambda path, form=form: str(forms(path)[form]))  # type: ignore[misc]
        found |= write_all(form, lambda path, form=form: str(forms(path)[form]))  # type: ignore[misc]
        found[f"files {form}"] = files_below(".")
        for parent, _, names in os.walk("out"):
            for file_name in names:
                os.unlink(os.path.join(parent, file_name))
    os.chdir("..")
    return found


def main() -> None:
    if sys.argv[1] != "native":
        import daft_k8s

        daft_k8s.set_runner_k8s(**json.loads(sys.argv[1]))
    found = {"first": look("first"), "second": look("second")}

    # Named in one folder and run in another: a reader's schema is of the first, its rows are of the second.
    os.chdir("first")
    named = daft.read_parquet("data/x.parquet")
    rows = iter(daft.from_glob_path("data/*.txt").iter_rows())
    os.chdir("../second")
    found["moved"] = {"reader": values(named), "glob": [str(row["path"]) for row in rows]}

    data = daft.from_pydict({"x": [b"a", b"b"], "to": ["/shared/../x", "s3://bucket/key"]})
    paths = PodPaths((PodFolder("/shared", readable=True, writable=True),))
    found["guard"] = {"refused": told_by(lambda: data.select(col("x").upload(check_locations(col("to"), paths))))}

    os.mkdir("../gone")
    os.chdir("../gone")
    os.rmdir("../gone")
    found["gone"] = {
        "relative": found_of(lambda: values(daft.from_pydict({"p": ["data/x.txt"]}).select(opened(col("p"))))),
        "computed": found_of(lambda: values(daft.from_pydict({"a": [2, 1]}).sort("a"))),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
