"""Errors, threads, early ends and shutdown of queries on two local workers.

Not covered: the driver's death by SIGKILL and lost workers (the tests of the allocator and the pool).
"""

from __future__ import annotations

import signal
import subprocess

import psutil
import pytest

from tests.local import driver_process

SETUP = """
import sys, threading
import daft, daft_k8s
from daft import col
session = daft_k8s.set_runner_k8s(allocation="local", num_workers=2, worker_cpu=1, worker_memory="512Mi")
df = daft.range(10_000, partitions=4).with_column("key", col("id") % 7)
"""

WORKER_PIDS = """
import psutil
df.count_rows()
print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
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
    assert "on worker worker-" in process.stdout
    assert "then 10000" in process.stdout


def test_queries_of_several_threads_give_right_answers() -> None:
    process = driver_process.run(
        script(
            """
answers = {}
def query(key):
    answers[key] = df.where(col("key") == key).agg(col("id").sum()).to_pydict()["id"][0]
threads = [threading.Thread(target=query, args=(key,)) for key in range(5)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(answers == {key: sum(range(key, 10_000, 7)) for key in range(5)})
"""
        )
    )
    assert process.stdout == "True\n", failed(process)


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
session.shutdown()
with daft_k8s.set_runner_k8s(allocation="local", num_workers=1, worker_cpu=1, worker_memory="512Mi"):
    print(df.where(col("key") == 1).count_rows())
try:
    df.where(col("key") == 2).count_rows()
except daft_k8s.errors.SessionClosedError:
    print("closed")
"""
        )
    )
    assert process.stdout.split() == ["10000", str(len(range(1, 10_000, 7))), "closed"], failed(process)


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('on purpose')", 1),
        ("session.shutdown()", 0),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM); df.sort('id').collect()", 128 + signal.SIGTERM),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT); df.sort('id').collect()", -signal.SIGINT),
    ],
    ids=["end", "sys.exit", "exception", "shutdown", "SIGTERM", "SIGINT"],
)
def test_however_the_driver_ends_its_workers_end_with_it(ending: str, status: int) -> None:
    process = driver_process.run(script(WORKER_PIDS + ending + "\n"))
    assert process.returncode == status, failed(process)
    workers = [int(pid) for pid in process.stdout.split()]
    assert len(workers) >= 2
    # The driver waits for its workers before it ends, so there is nothing left to wait for here.
    assert [pid for pid in workers if psutil.pid_exists(pid)] == []


def test_ctrl_c_in_a_running_query_ends_the_driver_and_its_workers() -> None:
    body = WORKER_PIDS + (
        """
@daft.func
def slow(value: int) -> int:
    import time
    time.sleep(0.05)
    return value

print("running", flush=True)
df.with_column("c", slow(col("id"))).collect()
"""
    )
    with driver_process.start(script(body)) as process:
        try:
            assert process.stdout is not None
            workers = [int(pid) for pid in process.stdout.readline().split()]
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode in (-signal.SIGINT, 1, 130), errors[-3000:]
    assert "KeyboardInterrupt" in errors
    assert len(workers) >= 2
    assert [pid for pid in workers if psutil.pid_exists(pid)] == []


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
