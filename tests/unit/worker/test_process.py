"""The life of a real worker process, with a stub in place of the extension's servers."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[3]
SECONDS = 30


class Worker:
    """A started worker; `wait_ready` before signals, `end` for its exit code and what it wrote."""

    def __init__(self, spill_dir: Path, behaviour: str, **settings: str) -> None:
        ready_read, ready_write = os.pipe()
        lifeline_read, self.lifeline = os.pipe()
        self.ready: IO[bytes] = os.fdopen(ready_read, "rb")
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DAFT_K8S_INTERNAL_SESSION_ID": "session-1",
            "DAFT_K8S_INTERNAL_WORKER_ID": "worker-0",
            "DAFT_K8S_INTERNAL_HOST": "127.0.0.1",
            "DAFT_K8S_INTERNAL_SPILL_DIR": str(spill_dir),
            "DAFT_K8S_INTERNAL_MEMORY_BYTES": "200000000",
            "DAFT_K8S_INTERNAL_TOKEN": "secret-token",
            "DAFT_K8S_INTERNAL_READY_FD": str(ready_write),
            "DAFT_K8S_INTERNAL_LIFELINE_FD": str(lifeline_read),
            **settings,
        }
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("stub_worker.py")), behaviour],
            env=environment,
            pass_fds=(ready_write, lifeline_read),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(ready_write)
        os.close(lifeline_read)

    def wait_ready(self) -> dict[str, str]:
        line: dict[str, str] = json.loads(self.ready.readline())
        return line

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out.decode(), err.decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=SECONDS)
        self.ready.close()
        if self.lifeline >= 0:
            os.close(self.lifeline)


StartWorker = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartWorker]:
    started: list[Worker] = []

    def start_worker(behaviour: str = "idle", **settings: str) -> Worker:
        started.append(Worker(tmp_path / "deep" / "spill", behaviour, **settings))
        return started[-1]

    yield start_worker
    for worker in started:
        worker.close()


def test_a_ready_worker_says_where_it_listens_and_has_a_private_directory(start: StartWorker, tmp_path: Path) -> None:
    worker = start()
    assert worker.wait_ready() == {"control_address": "127.0.0.1:1", "data_address": "127.0.0.1:2"}
    assert stat.S_IMODE((tmp_path / "deep" / "spill").stat().st_mode) == 0o700


def test_sigterm_drains_and_leaves_nothing_behind(start: StartWorker, tmp_path: Path) -> None:
    worker = start()
    worker.wait_ready()
    worker.process.send_signal(signal.SIGTERM)
    code, out, _ = worker.end()
    assert (code, out) == (0, "draining\nshut down\n")
    assert not (tmp_path / "deep" / "spill").exists()


def test_a_drain_that_takes_too_long_is_given_up(start: StartWorker) -> None:
    worker = start("is-busy", DAFT_K8S_INTERNAL_DRAIN_TIMEOUT_SECONDS="0.1")
    worker.wait_ready()
    worker.process.send_signal(signal.SIGTERM)
    code, _, err = worker.end()
    assert code == 0
    assert "1 tasks were still running after 0.1 s" in err


def test_a_second_sigterm_ends_it_at_once(start: StartWorker, tmp_path: Path) -> None:
    worker = start("is-busy", DAFT_K8S_INTERNAL_DRAIN_TIMEOUT_SECONDS="600")
    worker.wait_ready()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.stdout is not None
    assert worker.process.stdout.readline() == b"draining\n"
    worker.process.send_signal(signal.SIGTERM)
    assert worker.end()[0] == 128 + signal.SIGTERM
    assert not (tmp_path / "deep" / "spill").exists()


def test_sigint_is_for_the_driver(start: StartWorker) -> None:
    worker = start()
    worker.wait_ready()
    worker.process.send_signal(signal.SIGINT)
    worker.process.send_signal(signal.SIGTERM)
    code, out, _ = worker.end()
    assert (code, out) == (0, "draining\nshut down\n")


def test_the_drivers_wish_drains_too(start: StartWorker) -> None:
    code, out, err = start("drains", DAFT_K8S_INTERNAL_LOG_LEVEL="DEBUG").end()
    assert (code, out) == (0, "draining\nshut down\n")
    assert "the driver asked" in err


def test_a_worker_whose_starter_is_gone_stops(start: StartWorker) -> None:
    worker = start()
    worker.wait_ready()
    os.close(worker.lifeline)
    worker.lifeline = -1
    assert worker.end()[0] == 0


def test_wrong_settings_have_an_exit_code_of_their_own(start: StartWorker) -> None:
    code, _, err = start(DAFT_K8S_INTERNAL_CPUS="many").end()
    assert code == 78
    assert "DAFT_K8S_INTERNAL_CPUS='many' must be a number" in err


def test_a_missing_extension_is_named(start: StartWorker) -> None:
    code, _, err = start("has-no-extension").end()
    assert code == 70
    assert "the extension daft_k8s._native cannot be imported" in err
    assert "Traceback" not in err


def test_a_spill_directory_of_another_kind_is_refused(start: StartWorker, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "spill").symlink_to(tmp_path)
    code, _, err = start().end()
    assert code == 70
    assert "is not a directory of this user" in err


def make_wheel(folder: Path, name: str) -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", "X = 1\n")
        wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


def test_packages_are_installed_before_the_worker_is_ready_and_gone_with_it(start: StartWorker, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "tiny_package")
    worker = start(DAFT_K8S_INTERNAL_PIP=json.dumps([str(wheel)]), PIP_NO_INDEX="1")
    worker.wait_ready()
    installed = list((tmp_path / "deep" / "spill" / "pip").glob("lib/python3.*/site-packages/tiny_package.py"))
    worker.process.send_signal(signal.SIGTERM)
    code, _, err = worker.end()
    assert (code, len(installed)) == (0, 1)
    assert "with pip" in err
    assert not (tmp_path / "deep" / "spill").exists()


def test_a_package_that_cannot_be_installed_ends_the_worker_with_pips_words(start: StartWorker, tmp_path: Path) -> None:
    code, _, err = start(DAFT_K8S_INTERNAL_PIP='["no-such-package"]', PIP_NO_INDEX="1").end()
    assert code == 70
    assert "pip install no-such-package failed on the worker: ERROR:" in err
    assert "No matching distribution found for no-such-package" in err
    assert not (tmp_path / "deep" / "spill").exists()


def write_end(fifo: Path, deadline: float) -> int:
    """Of a pipe that somebody reads, or is about to."""
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline, "nobody reads"
            time.sleep(0.05)


def test_a_worker_that_is_told_to_stop_does_not_wait_for_pip(start: StartWorker, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked-1.0-py3-none-any.whl"
    os.mkfifo(blocked)
    worker = start(DAFT_K8S_INTERNAL_PIP=json.dumps([str(blocked)]), PIP_NO_INDEX="1")
    # Nothing ever comes, so whoever reads waits: a child of pip's.
    unwritten = write_end(blocked, time.monotonic() + SECONDS)
    try:
        worker.process.send_signal(signal.SIGTERM)
        assert worker.end()[0] == 0
    finally:
        os.close(unwritten)


def test_json_logs_carry_the_ids_and_no_token(start: StartWorker) -> None:
    worker = start("drains", DAFT_K8S_INTERNAL_LOG_FORMAT="json", DAFT_K8S_INTERNAL_LOG_LEVEL="DEBUG")
    _, _, err = worker.end()
    lines = [json.loads(line) for line in err.splitlines()]
    assert {(line["session"], line["worker"]) for line in lines} == {("session-1", "worker-0")}
    assert "secret-token" not in err
