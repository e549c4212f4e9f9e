"""The environment variables by which child processes of a driver use the same runner."""

from __future__ import annotations

import os

RUNNER = "DAFT_RUNNER"

_WORKER = "DAFT_FLOTILLA_WORKER"
"""Daft's own mark of a worker."""
_TAKEN_OVER = "DAFT_K8S_INTERNAL_RUNNER"
"""Says that the `ray` in `DAFT_RUNNER` stands for k8s. `daft_k8s.pth` looks at it too."""


def is_wanted() -> bool:
    """True if this process was told to use this runner."""
    runner = os.environ.get(RUNNER, "").lower()
    return runner == "k8s" or (runner == "ray" and _TAKEN_OVER in os.environ)


def is_worker() -> bool:
    """True while Daft is imported in a worker process, or in a process that a worker started for a UDF or an actor."""
    return os.environ.get(_WORKER) == "1"


def pass_on() -> None:
    """Sets `DAFT_RUNNER` to `ray`, which Daft accepts, and marks it so that child processes still use this runner."""
    os.environ[RUNNER] = "ray"
    os.environ[_TAKEN_OVER] = "k8s"
