"""The process that stands before a worker or a script, made the heir of orphans as a container's first process is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from daft_k8s.boot.first_process import stand_before

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process inherit orphans")

HEIR = """
import ctypes, os, signal, subprocess, sys, time
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
from daft_k8s.boot import first_process
code = first_process._fork_and_stand_by()
if code is not None:
    print("ended with", code, flush=True)
    sys.exit(code)
"""


def start(work: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEIR + textwrap.dedent(work)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    printed, problems = process.communicate(timeout=30)
    assert problems == ""
    return process.returncode, printed


def test_any_other_process_does_its_work_itself() -> None:
    assert os.getpid() != 1
    assert stand_before() is None


def test_the_end_of_the_child_is_the_end_of_all() -> None:
    assert end_of(start("sys.exit(70)")) == (70, "ended with 70\n")


def test_a_child_that_a_signal_ended_is_told_as_shells_do() -> None:
    assert end_of(start("os.kill(os.getpid(), signal.SIGSEGV)")) == (139, "ended with 139\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on_and_the_child_gets_them_as_if_nobody_stood_before_it(number: signal.Signals) -> None:
    process = start(f"""
        signal.signal({int(number)}, lambda *_: sys.exit(3))
        print("waits", flush=True)
        signal.pause()
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    process.send_signal(number)
    assert end_of(process) == (3, "ended with 3\n")


def test_a_child_that_handles_no_signal_dies_of_it() -> None:
    process = start("""
        print("waits", flush=True)
        signal.pause()
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    process.terminate()
    assert end_of(process) == (143, "ended with 143\n")


def test_orphans_that_have_ended_do_not_stay() -> None:
    """The shell ends before the process that it has started, which so becomes a child of the one that stands by."""
    assert end_of(
        start("""
        orphan = int(subprocess.check_output(["sh", "-c", "sleep 0.2 >&2 & echo $!"]))
        assert os.path.exists(f"/proc/{orphan}")
        end = time.monotonic() + 20
        while os.path.exists(f"/proc/{orphan}"):
            assert time.monotonic() < end, open(f"/proc/{orphan}/stat").read()
            time.sleep(0.02)
        print("the orphan is gone", flush=True)
    """)
    ) == (0, "the orphan is gone\nended with 0\n")


def test_the_childs_own_children_are_its_own_to_wait_for() -> None:
    assert end_of(start("sys.exit(subprocess.run(['sh', '-c', 'exit 5']).returncode)")) == (5, "ended with 5\n")


def test_a_containers_first_process_ends_at_once_when_it_is_told_to_and_its_child_handles_no_signal() -> None:
    """In a PID namespace of its own. Without the process that stands before it, the signal would mean nothing."""
    script = """
    from daft_k8s.boot.first_process import stand_before
    import os, signal, sys
    assert os.getpid() == 1
    code = stand_before()
    if code is not None:
        sys.exit(code)
    assert os.getpid() != 1
    print("waits", flush=True)
    signal.pause()
    """
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as outside:
        assert outside.stdout is not None
        assert outside.stderr is not None
        try:
            if outside.stdout.readline() != "waits\n":
                words = outside.stderr.read()
                assert "unshare" in words, words
                pytest.skip(f"no PID namespace can be made here: {words.strip()}")
            first = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()[0]
            os.kill(int(first), signal.SIGTERM)
            assert outside.wait(30) == 143
        finally:
            outside.kill()
