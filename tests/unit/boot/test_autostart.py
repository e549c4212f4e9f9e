"""The cost of the hook in `daft_k8s.pth`: the modules that it adds to every Python process with `DAFT_RUNNER=k8s`."""

from __future__ import annotations

import subprocess
import sys

from tests.unit.test_project import ROOT

HOOK = """
import sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import daft_k8s._autostart
print(*sorted(set(sys.modules) - before))
"""
HEAVY = {"asyncio", "concurrent", "dataclasses", "inspect", "json", "logging", "pickle", "socket", "subprocess"}


def test_the_hook_loads_modules_of_boot_alone() -> None:
    # -S: without the installed hook, which would have loaded them before.
    command = [sys.executable, "-S", "-c", HOOK, str(ROOT)]
    loaded = set(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split())
    assert {name for name in loaded if name.startswith("daft")} == {
        "daft_k8s",
        "daft_k8s._autostart",
        "daft_k8s.boot",
        "daft_k8s.boot.after_import",
        "daft_k8s.boot.inheritance",
    }
    assert not loaded & HEAVY
