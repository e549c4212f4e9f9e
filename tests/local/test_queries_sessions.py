"""Errors and early ends of queries, and sessions one after another, on two local workers.

Not covered: how drivers end, what several share (test_lifecycle_*), lost workers and bad input (test_failures_*).
"""

from __future__ import annotations

import subprocess

from tests.local import driver_process

SETUP = """
import daft, daft_k8s
from daft import col
session = daft_k8s.set_runner_k8s(allocation="local", num_workers=2, worker_cpu=1, worker_memory="512Mi")
df = daft.range(10_000, partitions=4).with_column("key", col("id") % 7)
"""


def script(body: str, *, setup: str = SETUP) -> str:
    return setup + body


def failed(process: subprocess.CompletedProcess[str]) -> str:
    return f"exit status {process.returncode}\n{process.stdout[-3000:]}\n{process.stderr[-5000:]}"


def test_a_udf_that_raises_fails_its_query_with_the_users_error_and_the_next_one_runs() -> None:
    process = driver_process.run(
        script(
            """
@daft.func.batch(return_dtype=daft.DataType.int64())
def broken(values):
    raise ZeroDivisionError("the user's own words")

try:
    df.with_column("c", broken(col("id"))).collect()
except Exception as error:
    print(type(error).__name__, error, *getattr(error, "__notes__", ()))
print("then", df.count_rows())
"""
        )
    )
    assert "ZeroDivisionError the user's own words" in process.stdout, failed(process)
    assert "in broken" in process.stdout
    assert "on worker-" in process.stdout
    assert "then 10000" in process.stdout


def test_an_abandoned_query_leaves_the_workers_usable() -> None:
    process = driver_process.run(
        script(
            """
for _ in range(3):
    rows = df.iter_rows()
    next(rows)
    rows.close()
print(df.count_rows())
"""
        )
    )
    assert process.stdout == "10000\n", failed(process)


def test_partitions_are_kept_apart_as_asked() -> None:
    process = driver_process.run(
        script(
            """
for parts in (df.into_partitions(7), df.repartition(9, "id"), df.into_partitions(2)):
    sizes = [len(part) for part in parts.iter_partitions()]
    print(len(sizes), sum(sizes))
"""
        )
    )
    assert process.stdout.splitlines() == ["7 10000", "9 10000", "2 10000"], failed(process)


def test_an_unchanged_script_runs_on_workers_when_the_environment_says_so() -> None:
    process = driver_process.run(
        """
import daft_k8s._autostart  # what daft_k8s.pth does in an installation
import daft
print(daft.range(100, partitions=4).sum("id").to_pydict(), type(daft.runners.get_or_create_runner()).__name__)
""",
        DAFT_RUNNER="k8s",
        DAFT_K8S_NUM_WORKERS="2",
        DAFT_K8S_WORKER_CPU="1",
        DAFT_K8S_WORKER_MEMORY="512Mi",
    )
    assert process.stdout == "{'id': [4950]} K8sRunner\n", failed(process)


def test_a_session_can_follow_another_in_one_process() -> None:
    process = driver_process.run(
        script(
            """
print(df.count_rows())
local = daft.from_pydict({"key": [1, 2, 3]})
both = local.join(df.select("key").distinct().collect(), on="key")
print(local.select(col("key") + 1).sum("key").to_pydict()["key"][0])
session.shutdown()
with daft_k8s.set_runner_k8s(allocation="local", num_workers=1, worker_cpu=1, worker_memory="512Mi"):
    print(df.where(col("key") == 1).count_rows())
    for _ in range(2):
        print(local.where(col("key") > 1).sum("key").to_pydict()["key"][0])
    try:
        both.count_rows()
    except daft_k8s.errors.SessionClosedError as error:
        print("gone" if "went with its workers" in str(error) else error)
    print(local.join(df, on="key").select("key").distinct().count_rows())
try:
    df.where(col("key") == 2).count_rows()
except daft_k8s.errors.SessionClosedError:
    print("closed")
"""
        )
    )
    of_one = str(len(range(1, 10_000, 7)))
    assert process.stdout.split() == ["10000", "9", of_one, "5", "5", "gone", "3", "closed"], failed(process)
    assert "panicked" not in process.stderr


def test_workers_that_cannot_start_are_an_error_with_the_reason() -> None:
    process = driver_process.run(
        """
import functools, sys
import daft, daft_k8s
from daft_k8s.allocation import local

broken = [sys.executable, "-c", "raise SystemExit('there is no Daft on this worker')"]
local.LocalLauncher = functools.partial(local.LocalLauncher, command=broken)
daft_k8s.set_runner_k8s(num_workers=1, worker_cpu=1, worker_memory="512Mi", max_worker_restarts=0)
try:
    daft.range(10).collect()
except daft_k8s.errors.WorkerStartError as error:
    print("refused:", error)
"""
    )
    assert process.stdout.startswith("refused: no worker"), failed(process)
    assert "there is no Daft on this worker" in process.stdout + process.stderr


def test_child_processes_of_an_unchanged_script_run_on_workers_too() -> None:
    """Daft is told another name for the runner in the environment, which children inherit."""
    finished = driver_process.run(
        """
        import subprocess, sys
        import daft
        query = "import daft; print(daft.from_pydict({'a': [2, 1]}).sort('a').to_pydict(), daft.runners._get_runner())"
        daft.from_pydict({"a": [2, 1]}).sort("a").to_pydict()
        print(subprocess.run([sys.executable, "-c", query], capture_output=True, text=True))
        """,
        DAFT_RUNNER="k8s",
        DAFT_K8S_NUM_WORKERS="1",
    )
    assert "{'a': [1, 2]}" in finished.stdout, finished
    assert "K8sRunner" in finished.stdout, finished


def test_a_query_inside_a_udf_is_refused_instead_of_hanging() -> None:
    finished = driver_process.run(
        """
        import daft, daft_k8s
        from daft import col

        @daft.func
        def nested(x: int) -> int:
            return daft.from_pydict({"a": [1, 2]}).sort("a").to_pydict()["a"][0]

        with daft_k8s.set_runner_k8s(num_workers=1):
            try:
                daft.from_pydict({"x": [1]}).select(nested(col("x"))).collect()
            except Exception as error:
                print(type(error).__name__, error)
        """
    )
    assert "a Daft query inside a UDF is not supported" in finished.stdout, finished
