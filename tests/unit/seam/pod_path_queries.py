"""Reads and writes paths of every kind in every way, with a session of Pods on `fake_pool`; prints what came of it.

`test_pod_paths.py` runs this as a process of its own. Tasks run in this process, so that of what is let through it is
seen that Daft can do it. Arguments: a folder that is mounted, and one that shared_paths names.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import daft
from daft import col, lit
from fake_pool import FakeLauncher, FakeManager

import daft_k8s.driver.session
from daft_k8s.config import load
from daft_k8s.seam.install import activate
from tests.local.path_scenarios import Dump, content_of, files_below, forms, make_data, values

MOUNTED, NAMED = sys.argv[1:]
TEMPLATE = {
    "spec": {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "containers": [{"name": "worker", "volumeMounts": [{"name": "data", "mountPath": MOUNTED}]}],
    }
}


def found_of(action: Callable[[], Any]) -> str:
    try:
        return f"returned {action()}"
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if type(cause).__name__ == "UnsupportedError":
                return f"UnsupportedError: {cause}"
            cause = cause.__cause__
        return f"{type(error).__name__}: {error}"


def read_all(path: Callable[[str], str]) -> dict[str, Callable[[], Any]]:
    parquet, csv, text = path("data/x.parquet"), path("data/x.csv"), path("data/x.txt")
    one = daft.range(1)
    newer = {"read_blob": lambda: values(daft.read_blob(text).select("content"))} if hasattr(daft, "read_blob") else {}
    return {
        **newer,
        "read_parquet": lambda: values(daft.read_parquet(parquet)),
        "read_parquet of many": lambda: values(daft.read_parquet([parquet] * 9)),
        "read_csv of a pattern": lambda: values(daft.read_csv(csv.replace("x.csv", "*.csv"))),
        "read_json": lambda: values(daft.read_json(path("data/x.json"))),
        "read_text": lambda: values(daft.read_text(text)),
        "from_glob_path": lambda: values(daft.from_glob_path(text.replace("x.txt", "*.txt")).select("size")),
        "from_files": lambda: values(daft.from_files(text).select(content_of(col("file")))),
        "sql read_parquet": lambda: values(daft.sql(f"select a from read_parquet('{parquet}')")),
        "sql name": lambda: values(daft.sql(f"select a from '{csv}'")),
        "sql url_download": lambda: values(daft.sql(f"select url_download('{text}') as x from one", one=one)),
        "download of a constant": lambda: values(one.select(lit(text).download())),
        "file of a constant": lambda: values(one.select(content_of(daft.functions.file(lit(text))))),
    }


def write_all(path: Callable[[str], str]) -> dict[str, Callable[[], Any]]:
    rows = daft.from_pydict({"x": [1, 2, 3]})
    data = daft.from_pydict({"x": [b"abc"], "to": [path("out/row")]})
    return {
        "write_parquet": lambda: len(rows.write_parquet(path("out/parquet")).to_pydict()["path"]),
        "write_parquet overwrites": lambda: rows.write_parquet(
            path("out/parquet"), write_mode="overwrite"
        ).count_rows(),
        "write_csv by parts": lambda: rows.write_csv(path("out/csv"), partition_cols=["x"]).count_rows(),
        "write_json": lambda: rows.write_json(path("out/json")).count_rows(),
        "upload": lambda: data.select(col("x").upload(path("out/folder"))).count_rows(),
        "upload to a constant": lambda: data.select(col("x").upload(lit(path("out/constant")))).to_pydict(),
        "upload row by row": lambda: data.select(col("x").upload(col("to"))).to_pydict(),
        "upload that ignores errors": lambda: data.select(col("x").upload(col("to"), on_error="null")).to_pydict(),
        "sql url_upload": lambda: daft.sql(
            f"select url_upload(x, '{path('out/sql')}') as y from data", data=data
        ).to_pydict(),
        "write_sink": lambda: rows.write_sink(Dump(path("out/sink"))).to_pydict(),
        "checkpoint": lambda: daft.CheckpointStore(path("out/checkpoint")),
    }


def look(path: Callable[[str], str]) -> dict[str, str]:
    found = {name: found_of(action) for name, action in read_all(path).items()}
    found |= {name: found_of(action) for name, action in write_all(path).items()}
    return found


def main() -> None:
    daft_k8s.driver.session.make_launcher = lambda *args, **kwargs: FakeLauncher()
    options = {"allocation": "pod", "image": "example.com/daft:1", "num_workers": 1, "pod_template": TEMPLATE}
    session = activate(load({**options, "shared_paths": [NAMED]}), manager_factory=FakeManager)
    found: dict[str, Any] = {}
    for folder in (".", MOUNTED, NAMED):
        make_data("text", folder)
    written = files_below(".")
    for form in forms("x"):
        found[form] = look(lambda name, form=form: str(forms(name)[form]))  # type: ignore[misc]
    found["written"] = [name for name in files_below(".") if name not in written]
    for folder in (MOUNTED, NAMED):
        found[folder] = look(lambda name, folder=folder: f"{folder}/{name}")  # type: ignore[misc]
    found["mounted uri"] = look(lambda name: f"file://{MOUNTED}/{name}")
    found["left by .."] = look(lambda name: f"{MOUNTED}/../{pathlib.Path.cwd().name}/{name}")

    columns = daft.from_pydict({"x": [b"abc"], "to": ["s3://bucket/key"]})
    found["more"] = {
        "schema alone": found_of(lambda: daft.read_parquet("data/x.parquet").column_names),
        "sql url_upload row by row": found_of(
            lambda: daft.sql('select url_upload(x, "to") as y from columns', columns=columns).to_pydict()
        ),
        "long path": found_of(lambda: daft.range(1).write_csv("/somewhere/" + "very long name/" * 20).to_pydict()),
        "read_sql": found_of(lambda: daft.read_sql("select 1", "sqlite:///here.db")),
        "write_deltalake": found_of(
            lambda: daft.range(1)._builder.write_deltalake("/data/table", "append", 0, False, daft.io.IOConfig())
        ),
        "alias": found_of(
            lambda: daft.range(1).write_csv(
                "mine:///data/out", io_config=daft.io.IOConfig(protocol_aliases={"mine": "file"})
            )
        ),
        "in memory": found_of(lambda: daft.from_pydict({"a": ["/not/a/path", "file:///x"]}).sort("a").to_pydict()),
        "filter": found_of(lambda: columns.where(col("to") == "file:///x").count_rows()),
    }
    session.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
