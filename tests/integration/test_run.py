"""A driver of `daft-k8s run` on a cluster gets variables, packages and modules beside its script; and the shell."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.cluster import Namespace, wait_until
from tests.integration.test_cli import DRIVER, call, command, left_over

pytestmark = pytest.mark.timeout(175)

SCRIPT = """
import json, os
import daft
import numpy

NAMES = ("PLAIN", "FROM_SECRET", "PASSED_ON")

@daft.func
def look(x: int) -> str:
    return json.dumps([os.environ.get(name) for name in NAMES])

if __name__ == "__main__":
    frame = daft.from_pydict({"x": [1]})
    workers = json.loads(frame.select(look(frame["x"]).alias("found")).to_pydict()["found"][0])
    print("RESULT", json.dumps({"driver": [os.environ.get(name) for name in NAMES], "workers": workers}))
"""


CELLS = [
    "import daft\n@daft.func\ndef twice(x: int) -> int:\n    return 2 * x",
    "frame = daft.from_pydict({'x': [1, 2, 3]}).into_partitions(3)\n"
    "print('SUM', sum(frame.select(twice(frame['x']).alias('y')).to_pydict()['y']))",
]

SLOW = """
import time
import daft

@daft.func
def slowly(x: int) -> int:
    time.sleep(3)
    return x

if __name__ == "__main__":
    frame = daft.range(8, partitions=8)
    print("SUM", sum(frame.select(slowly(frame["id"]).alias("x")).to_pydict()["x"]), flush=True)
    time.sleep(6)  # the driver tells what it has done every five seconds
"""


def result(text: str) -> dict[str, list[str]]:
    line = next(line for line in text.splitlines() if line.startswith("RESULT "))
    found: dict[str, list[str]] = json.loads(line.removeprefix("RESULT "))
    return found


@pytest.mark.parametrize("module", [False, True], ids=["script", "module"])
def test_driver_and_workers_get_the_same_variables(namespace: Namespace, tmp_path: Path, module: bool) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "given"},
        "stringData": {"FROM_SECRET": "two"},
    }
    namespace.kubectl("apply", "-f", "-", given=secret)
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "look.py").write_text(SCRIPT)
    what = ["-m", "pkg.look"] if module else ["pkg/look.py"]
    options = ["--env", "PLAIN=one", "--env-from", "secret/given", "-o", "pass_env=PASSED_*"]
    ended = subprocess.run(
        command(namespace, "run", *DRIVER, *options, *what),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "PASSED_ON": "three"},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert result(ended.stdout) == {"driver": ["one", "two", "three"], "workers": ["one", "two", "three"]}
    wait_until(lambda: left_over(namespace) == [], 30, "everything of the run is gone, its Secrets too")


def test_a_run_tells_its_milestones_and_a_summary(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(SLOW)
    ended = call(namespace, "run", *DRIVER, "job.py", folder=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = ended.stderr
    print(told)
    assert re.search(r"^driver runs on \S+ \(\d+\.\d s\)$", told, re.MULTILINE)
    assert re.search(r"^2/2 workers \(\d+\.\d s\)$", told, re.MULTILINE)
    summary = next(line for line in told.splitlines() if " succeeded after " in line)
    assert re.search(r"at least \d+ tasks done", summary) and "all workers after" in summary
    assert "SUM 28" in ended.stdout and "workers" not in ended.stdout


def test_a_terminal_shows_one_live_line_below_the_log(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(SLOW)
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        command(namespace, "run", *DRIVER, "job.py"),
        cwd=tmp_path,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(terminal)
    seen = b""
    try:
        while process.poll() is None or select.select([main], [], [], 0.2)[0]:
            if select.select([main], [], [], 1.0)[0]:
                try:
                    seen += os.read(main, 65536)
                except OSError:  # the other end is closed
                    break
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)
    text = seen.decode(errors="replace")
    assert "tasks" in text and "2/2 workers" in text, text
    assert "\x1b[1A\x1b[2K" in text or "\x1b[2K" in text, "the line is drawn again in its place"
    assert "SUM 28" in text


def test_a_notebook_runs_as_a_job(namespace: Namespace, tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in CELLS]
    (tmp_path / "report.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    ended = call(namespace, "run", *DRIVER, "report.ipynb", folder=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "SUM 12" in ended.stdout


def test_packages_are_there_for_the_driver(namespace: Namespace, tmp_path: Path) -> None:
    """A package that the image has needs no index, which the Pods of a test cluster may not reach."""
    (tmp_path / "job.py").write_text("import sys\nprint([path for path in sys.path if 'daft-packages' in path])\n")
    ended = call(namespace, "run", *DRIVER, "-o", "pip=rich", "job.py", folder=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "/var/lib/daft-packages/site" in ended.stdout


def test_a_package_for_the_driver_that_is_not_found_is_named(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("")
    wrong = ["-o", "pip=no-such-package==1", "--env", "PIP_RETRIES=0", "--env", "PIP_TIMEOUT=1"]
    failed = call(namespace, "run", *DRIVER, *wrong, "job.py", folder=tmp_path)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "pip install no-such-package==1 failed on the driver" in failed.stderr
    assert "driver runs" not in failed.stderr and "correct the option pip" in failed.stderr


def test_a_run_that_has_ended_is_known_by_its_outcome(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("raise SystemExit(3)\n")
    started = call(namespace, "run", *DRIVER, "--detach", "job.py", folder=tmp_path)
    assert started.returncode == 0, started.stderr
    name = next(word for word in started.stderr.split() if word.startswith("daft-job-"))

    def runs() -> dict[str, dict[str, object]]:
        told = call(namespace, "runs", "--output", "json", folder=tmp_path)
        return {run["run"]: run for run in json.loads(told.stdout)}

    wait_until(lambda: runs()[name]["state"] == "failed", 60, "the run's end")
    assert runs()[name]["exit_code"] == 3
    told = call(namespace, "status", name, folder=tmp_path)
    assert told.returncode == 0 and "failed" in told.stdout and "its session has ended" in told.stdout
    assert call(namespace, "clean", name, folder=tmp_path).returncode == 0
    wait_until(lambda: name not in runs(), 30, "the run is gone")


def test_a_shell_is_a_driver_in_the_cluster_that_ends_with_its_terminal(namespace: Namespace, tmp_path: Path) -> None:
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        command(namespace, "shell", *DRIVER),
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "TERM": "dumb"},
    )
    os.close(terminal)
    seen = ""

    def read_until(words: str, within_seconds: float) -> None:
        nonlocal seen
        end = time.monotonic() + within_seconds
        while words not in seen:
            assert time.monotonic() < end, f"no {words!r} in:\n{seen}"
            if select.select([main], [], [], 1.0)[0]:
                try:
                    seen += os.read(main, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"ended without {words!r}:\n{seen}") from None

    try:
        read_until(">>> ", 90)
        os.write(main, b"print('ROWS', daft.range(100, partitions=4).where(col('id') > 10).count_rows())\n")
        read_until("ROWS 89", 90)
        os.write(main, b"exit()\n")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)
    wait_until(lambda: left_over(namespace) == [], 30, "everything of the shell is gone")
