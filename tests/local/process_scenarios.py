"""The inheritance of processes that UDFs start from their worker, printed as one JSON object.

`test_processes_of_udfs.py` runs `main` in a driver that imports this module, as children that are spawned must. Each
scenario runs in a task, in an actor and in a process of Daft's own (`use_process=True`).
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daft import Series

SLEEP_SECONDS = 60
END_SECONDS = 30
"""Enough for the end of a child on a busy machine."""
OWN_VARIABLES = {"LOG_LEVEL", "LOG_FORMAT", "LOG_DATE_FORMAT", "PYTHONUNBUFFERED"}
"""Daft sets them for its own processes of UDFs."""


def _sleep(ready: Connection) -> None:
    try:
        ready.send_bytes(b"!")
        time.sleep(SLEEP_SECONDS)
    except KeyboardInterrupt:
        os._exit(1)


def _of_multiprocessing(method: str, number: int) -> Any:
    context: Any = multiprocessing.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=_sleep, args=(there,))
    process.start()
    here.recv_bytes()
    os.kill(process.pid or 0, number)
    process.join(END_SECONDS)
    code = "deaf" if process.is_alive() else process.exitcode
    process.kill()
    return code


def _of_os_fork(number: int) -> Any:
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writable, b"!")
            time.sleep(SLEEP_SECONDS)
        except KeyboardInterrupt:
            os._exit(1)
        finally:
            os._exit(0)
    os.read(readable, 1)
    os.kill(pid, number)
    return _ended(pid)


def _of_posix_spawn(number: int) -> Any:
    path = "/bin/sleep"
    pid = os.posix_spawn(path, [path, str(SLEEP_SECONDS)], os.environ)
    os.kill(pid, number)
    return _ended(pid)


def _ended(pid: int) -> Any:
    end = time.monotonic() + END_SECONDS
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "deaf"


def _of_popen(number: int, **options: Any) -> Any:
    with subprocess.Popen(["sleep", str(SLEEP_SECONDS)], **options) as process:
        process.send_signal(number)
        try:
            return process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return "deaf"


WAYS: dict[str, Callable[[int], Any]] = {
    "Popen": _of_popen,
    "Popen with preexec_fn": lambda number: _of_popen(number, preexec_fn=int),
    "posix_spawn": _of_posix_spawn,
    "os.fork": _of_os_fork,
    "multiprocessing fork": lambda number: _of_multiprocessing("fork", number),
    "multiprocessing spawn": lambda number: _of_multiprocessing("spawn", number),
    "multiprocessing forkserver": lambda number: _of_multiprocessing("forkserver", number),
}


def signals() -> dict[str, Any]:
    """The ends of a child of each kind by SIGTERM and by SIGINT; and the signals that a program finds blocked."""
    found: dict[str, Any] = {way: [end(signal.SIGTERM), end(signal.SIGINT)] for way, end in WAYS.items()}
    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    found["blocked"] = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")]
    return found


def variables() -> dict[str, Any]:
    """The variables that a UDF sees, and those of a program that it starts, as far as the driver's differ."""
    shown = subprocess.run(
        [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return {"udf": dict(os.environ), "program": json.loads(shown)}


def imports() -> dict[str, Any]:
    """The value of a module that came after the start of the session, in a folder that was put on the path then."""
    late_module = importlib.import_module("late_module")
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return {"udf": late_module.value(), "spawned": pool.apply(late_module.value)}


def in_each_place(scenario: Callable[[], Any]) -> dict[str, Any]:
    """The answers of a scenario that runs in a task, an actor and a process of Daft's own."""
    import daft  # here: children that are spawned import this module, too
    from daft import DataType, col

    @daft.func.batch(return_dtype=DataType.string())
    def task(values: Series) -> list[str]:
        return [json.dumps(scenario())] * len(values)

    @daft.func.batch(return_dtype=DataType.string(), use_process=True)
    def process(values: Series) -> list[str]:
        return [json.dumps(scenario())] * len(values)

    @daft.cls(max_concurrency=1)
    class Actor:
        @daft.method.batch(return_dtype=DataType.string())
        def run(self, values: Series) -> list[str]:
            return [json.dumps(scenario())] * len(values)

    udfs: dict[str, Any] = {"task": task, "process": process, "actor": Actor().run}
    return {place: json.loads(daft.range(1).select(udf(col("id"))).to_pydict()["id"][0]) for place, udf in udfs.items()}


def main(folder: str) -> None:
    """Runs all scenarios in one session."""
    import daft_k8s

    late = os.path.join(folder, "not yet there: 10:00:00")
    sys.path.append(late)
    session = daft_k8s.set_runner_k8s(num_workers=1, worker_cpu=1, worker_memory="512Mi", env={"OPTION": "value"})
    expected = {**os.environ, "DAFT_RUNNER": "native", "OPTION": "value"}
    found: dict[str, Any] = {"signals": in_each_place(signals)}
    seen = in_each_place(variables)
    found["variables"] = {
        place: {
            who: sorted({name for name, _ in of_one.items() ^ expected.items()} - OWN_VARIABLES)
            for who, of_one in of_both.items()
        }
        for place, of_both in seen.items()
    }
    os.mkdir(late)
    with open(os.path.join(late, "late_module.py"), "w") as module:
        module.write("def value(): return 42\n")
    found["imports, folder made late"] = in_each_place(imports)
    found["workers"] = [[worker.phase, worker.launch] for worker in session.snapshot().workers]
    found["workers_as_text"] = [[each["phase"], each["launch"]] for each in json.loads(session.status())["workers"]]
    print(json.dumps(found))
