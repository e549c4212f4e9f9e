"""Runs a driver in a process of its own: Daft chooses its runner once in a process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 110
UNPICKLED = ""
"""The file in which drivers note what they unpickle of workers; conftest.py names it, and looks into it at the end."""


def environment(**variables: str) -> dict[str, str]:
    """The variables of a driver: nothing of the developer's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAFT_", "PYTEST_"))}
    here = Path(__file__).parent
    path = os.pathsep.join([str(ROOT), str(here), str(here / "watched")])
    watched = {"DAFT_K8S_UNPICKLED": UNPICKLED} if UNPICKLED else {}
    return {**kept, **watched, "PYTHONPATH": path, "DAFT_PROGRESS_BAR": "0", "DAFT_ANALYTICS_ENABLED": "0", **variables}


def run_file(path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env=environment(**variables),
    )


# A shell that starts tests in the background has them ignore Ctrl-C, which processes inherit.
_HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def start(script: str, *, stdin: int | None = None, **variables: str) -> subprocess.Popen[str]:
    """Starts a script whose output is read line by line."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _HEARS_CTRL_C + textwrap.dedent(script)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )


def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end."""
    with start(script, **variables) as process:
        try:
            output, errors = process.communicate(timeout=TIMEOUT_SECONDS)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
