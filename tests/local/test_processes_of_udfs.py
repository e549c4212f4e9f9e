"""Processes that UDFs start: their signals, their variables, what they import, and that none outlives its worker.

Not covered: `pip` (tests/unit/worker/test_process.py), Pods, whose processes end with their container.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.local import driver_process
from tests.local.remote_driver import RemoteDriver, poll, send_signal

PLACES = ("task", "process", "actor")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("processes")
    script = f"from tests.local.process_scenarios import main; main({str(folder)!r})"
    ended = driver_process.run(script, RAY_ADDRESS="auto", DAFT_RUNNER="ray", DAFT_MEMORY_LIMIT="1000000")
    assert ended.returncode == 0, ended.stderr[-4000:]
    loaded: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return loaded


@pytest.mark.parametrize("place", PLACES)
def test_children_end_by_signals_as_everywhere(found: dict[str, Any], place: str) -> None:
    program = [-signal.SIGTERM, -signal.SIGINT]
    python = [-signal.SIGTERM, 1]  # KeyboardInterrupt
    signals = found["signals"][place]
    if sys.version_info >= (3, 13) and place == "task":
        # Python's own handlers are not always called there in a child that another thread than the main one has
        # forked. It is so in native Daft as well.
        for way in ("os.fork", "multiprocessing fork"):
            signals[way][1] = 1
    assert signals == {
        "Popen": program,
        "Popen with preexec_fn": program,
        "posix_spawn": program,
        "os.fork": python,
        "multiprocessing fork": python,
        "multiprocessing spawn": python,
        "multiprocessing forkserver": python,
        "blocked": ["0000000000000000"],
    }


def test_a_child_that_is_terminated_leaves_its_worker_alone(found: dict[str, Any]) -> None:
    assert found["workers"] == found["workers_as_text"] == [["Ready", 1]]


@pytest.mark.parametrize("place", PLACES)
def test_udfs_and_their_programs_see_the_drivers_variables(found: dict[str, Any], place: str) -> None:
    assert found["variables"][place] == {"udf": [], "program": []}


@pytest.mark.parametrize("place", PLACES)
def test_a_module_is_found_that_was_written_after_the_start_to_a_folder_with_a_colon(
    found: dict[str, Any], place: str
) -> None:
    assert found["imports, folder made late"][place] == {"udf": 42, "spawned": 42}


LATE = """
import tempfile
folder = tempfile.mkdtemp()
with open(os.path.join(folder, "late_first.py"), "w") as module:
    module.write("def value(): return 42")
sys.path.insert(0, folder)
os.environ["LATER"] = "set"
"""
LOOK = """
@daft.func(return_dtype=daft.DataType.string())
def look(x: int):
    import late_first
    time.sleep(0.05)
    return f"{os.environ.get('LATER')} {late_first.value()}"
answer = sorted(set(daft.range(8, partitions=8).select(look(col("id"))).to_pydict()["id"]))
"""


def test_a_worker_that_replaces_another_has_its_variables_and_what_is_new_on_the_path(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.run("daft.range(8, partitions=8).collect()")
        driver.run(LATE)
        assert driver.run(LOOK) == ["None 42"]
        killed = driver.workers()[0]
        send_signal(killed.pid, signal.SIGKILL)
        poll(lambda: killed.pid not in {worker.pid for worker in driver.workers()}, 60, "the worker is still there")
        driver.wait_for_workers()
        assert driver.run(LOOK) == ["None 42"]


# In groups and sessions of their own, deaf to SIGTERM, with pipes of the worker: whatever a child can do to stay.
STAYS = """
import multiprocessing, signal, subprocess
FOLDER = {folder!r}
def stay(name):
    with open(os.path.join(FOLDER, name + ".part"), "w") as file:
        file.write(str(os.getpid()))
    os.rename(os.path.join(FOLDER, name + ".part"), os.path.join(FOLDER, name))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(100)
def stay_behind(place):
    def in_a_group():
        os.setpgrp()
        stay(f"{{place}}-group")
    def as_an_orphan():
        if os.fork() == 0:
            stay(f"{{place}}-orphan")
    children = [multiprocessing.get_context("fork").Process(target=target) for target in (in_a_group, as_an_orphan)]
    for child in children:
        child.start()
    children[1].join()
    while len([name for name in os.listdir(FOLDER) if name.startswith(place) and not name.endswith(".part")]) < 2:
        time.sleep(0.01)
@daft.func(return_dtype=daft.DataType.int64())
def task(x: int):
    stay_behind("task")
    return x
@daft.cls(max_concurrency=1)
class Actor:
    @daft.method.batch(return_dtype=daft.DataType.int64())
    def run(self, values):
        stay_behind("actor")
        if {hold}:
            time.sleep(100)
        return values.to_pylist()
daft.range(1).select(task(col("id"))).collect()
query = lambda: daft.range(1).select(Actor().run(col("id"))).collect()
"""


def left_in(folder: Path) -> list[int]:
    pids = [int(path.read_text()) for path in folder.iterdir() if path.suffix != ".part"]
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("ending", ["shutdown", "driver killed", "worker killed"])
def test_no_process_of_a_udf_outlives_its_worker(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()
    with RemoteDriver(tmp_path, num_workers=1, worker_cpu=2) as driver:
        hold = ending != "shutdown"  # else the actor has ended before, and its children with it
        driver.run(STAYS.format(folder=str(folder), hold=hold))
        if hold:
            driver.send("query()")
        else:
            driver.run("query()")
        poll(lambda: len([path for path in folder.iterdir() if path.suffix != ".part"]) == 4, 60, "they did not start")
        (worker,) = psutil.Process(driver.process.pid).children()
        if ending == "shutdown":
            driver.run("session.shutdown()")
        else:
            os.kill(driver.process.pid if ending == "driver killed" else worker.pid, signal.SIGKILL)
        poll(lambda: not left_in(folder), 40, lambda: f"{left_in(folder)} are left after {ending}")
