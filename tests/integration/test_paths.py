"""Paths and Pods: those of a Pod's own disk are refused before anything runs, those of a volume that all see work.

The volume is a folder of this machine, so the second test needs a cluster whose nodes are this machine.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cluster import Namespace
from tests.integration.test_cli import call

REFUSED = """
import pathlib
session = use(num_workers=1)
df = daft.from_pydict({"x": [1, 2, 3], "b": [b"x"] * 3, "to": [f"/tmp/rows/{n}" for n in range(3)]})
pathlib.Path("/tmp/x.csv").write_text("a\\n1\\n")
os.chdir("/tmp")

def told(action):
    try:
        return f"returned {action()}"
    except Exception as error:
        while error.__cause__ is not None and type(error).__name__ != "UnsupportedError":
            error = error.__cause__
        return f"{type(error).__name__}: {error}"

writes = {}
for path in ("out", "./out", "~/out", "/tmp/out", "file:///tmp/out", "/var/lib/daft-spill/out", "/home/out"):
    writes[f"parquet {path}"] = told(lambda: df.select("x").write_parquet(path).to_pydict())
    writes[f"overwrite {path}"] = told(lambda: df.select("x").write_parquet(path, write_mode="overwrite").to_pydict())
    writes[f"csv {path}"] = told(lambda: df.select("x").write_csv(path).to_pydict())
    writes[f"json {path}"] = told(lambda: df.select("x").write_json(path).to_pydict())
    writes[f"upload {path}"] = told(lambda: df.select(col("b").upload(path)).to_pydict())
reads = {}
for path in ("x.csv", "/tmp/x.csv", "file:///tmp/x.csv", "~/x.csv"):
    reads[f"csv {path}"] = told(lambda: daft.read_csv(path).to_pydict())
    reads[f"glob {path}"] = told(lambda: daft.from_glob_path(path).to_pydict())
    reads[f"sql {path}"] = told(lambda: daft.sql(f"select * from read_csv('{path}')").to_pydict())
say(
    writes=writes,
    reads=reads,
    rows=told(lambda: df.select(col("b").upload(col("to"))).to_pydict()),
    computed=count_rows(),
)
"""

SHARED = """
folder = {folder!r}
volume = {{"name": "data", "hostPath": {{"path": folder, "type": "Directory"}}}}
mount = {{"name": "data", "mountPath": folder}}
named = os.path.dirname(daft.__file__)
session = use(num_workers=2, shared_paths=[named], pod_template={{"spec": {{
    "volumes": [volume], "containers": [{{"name": "worker", "volumeMounts": [mount]}}]}}}})
df = daft.from_pydict({{"x": list(range(100)), "b": [b"x"] * 100}}).into_partitions(4)
written = df.select("x").write_parquet(folder + "/table").to_pydict()["path"]

@daft.func.batch(return_dtype=daft.DataType.int64(), batch_size=10)
def dies_once(values):
    if 70 in values.to_pylist() and not os.path.exists(folder + "/died"):
        open(folder + "/died", "w").close()
        os.kill(os.getpid(), 9)
    return values

for mode in ("overwrite", "append"):
    again = df.with_column("y", dies_once(col("x"))).write_csv(folder + "/csv", write_mode=mode).to_pydict()["path"]
uploaded = df.select(col("b").upload("file://" + folder + "/blobs").alias("p")).to_pydict()["p"]
say(
    written=len(written),
    uploaded=len(uploaded),
    listed=again,
    read=daft.read_parquet(folder + "/table").agg(col("x").sum()).to_pydict()["x"],
    # The workers' image holds it, and the driver has the same image.
    image=daft.from_glob_path(named + "/__init__.py").count_rows(),
)
"""


@pytest.fixture
def namespace_with_disks(image: str) -> Iterator[Namespace]:
    """A namespace whose Pods may use their nodes' disks."""
    namespace = Namespace.fresh(image)
    namespace.create(level="privileged")
    yield namespace
    namespace.remove()


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder of this machine that any user may write to."""
    with tempfile.TemporaryDirectory(prefix="daft-shared-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_paths_on_a_disk_of_the_drivers_own_are_refused_by_name(namespace: Namespace) -> None:
    facts = namespace.start(REFUSED).finish()
    for name, outcome in {**facts["writes"], **facts["reads"], "rows": facts["rows"]}.items():
        assert outcome.startswith("UnsupportedError: "), (name, outcome)
        assert "worker Pods do not share" in outcome and "s3://" in outcome, (name, outcome)
    assert facts["computed"] > 0  # the session goes on


def test_a_volume_that_all_see_is_written_and_read(namespace_with_disks: Namespace, disk: Path) -> None:
    (disk / "mark").touch()
    probe = namespace_with_disks.start(f"say(there=os.path.exists({str(disk / 'mark')!r}))", disks=(disk,))
    if not probe.finish()["there"]:
        pytest.skip("the cluster's nodes do not see this machine's files")
    facts = namespace_with_disks.start(SHARED.format(folder=str(disk)), disks=(disk,)).finish(150)
    assert facts["written"] >= 1 and facts["uploaded"] == 100
    assert facts["read"] == [sum(range(100))]
    assert facts["image"] == 1
    assert len(list((disk / "table").glob("*.parquet"))) == facts["written"]
    assert len(list((disk / "blobs").iterdir())) == 100
    assert (disk / "died").exists()
    rows = [int(row["x"]) for path in (disk / "csv").iterdir() for row in csv.DictReader(path.read_text().splitlines())]
    assert sorted(rows) == sorted([*range(100)] * 2)
    assert {str(disk / "csv" / Path(path).name) for path in facts["listed"]} == set(facts["listed"])
    assert not list(disk.rglob(".daft-write-*"))


@pytest.mark.parametrize("path", ["/tmp/result", "result", "file:///tmp/result"])
def test_sql_that_would_write_to_a_pods_own_disk_ends_with_an_error(
    namespace: Namespace, path: str, tmp_path: Path
) -> None:
    arguments = ["--service-account", "driver", "--write", path, "SELECT 1 AS a"]
    ended = call(namespace, "sql", *arguments, folder=tmp_path)
    assert ended.returncode != 0, ended.stdout + ended.stderr
    assert "worker Pods do not share" in ended.stdout + ended.stderr
    assert "wrote" not in ended.stdout
