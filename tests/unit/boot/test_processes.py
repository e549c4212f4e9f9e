"""The end of the processes that a process has started. What a worker leaves behind is in tests/local."""

from __future__ import annotations

import os
import subprocess
import sys

from daft_k8s.boot import processes

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
PARENT = """
import os, subprocess, sys
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
orphan = subprocess.run([sys.executable, "-c", "import subprocess; print(subprocess.Popen(['sleep', '60'], "
    "stdout=subprocess.DEVNULL).pid)"], stdout=subprocess.PIPE)
print(os.getpid(), child.pid, int(orphan.stdout), flush=True)
child.wait()
"""


def test_processes_may_end_by_sigterm_before_they_are_killed() -> None:
    with (
        subprocess.Popen(["sleep", "60"]) as gentle,
        subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE) as deaf,
    ):
        assert deaf.stdout is not None
        deaf.stdout.readline()
        ours = {gentle.pid, deaf.pid}
        processes.end(lambda: processes.descendants(os.getpid()) & ours, grace_seconds=0.3)
        assert (gentle.wait(10), deaf.wait(10)) == (-15, -9)


def test_a_family_has_children_in_other_sessions_and_orphans_of_its_own() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        pid, child, orphan = (int(word) for word in parent.stdout.readline().split())
        assert pid == parent.pid
        assert processes.descendants(pid) == {child}
        assert processes.family(pid) == {child, orphan}
        processes.end(lambda: processes.family(pid))
        assert parent.wait(10) == 0
