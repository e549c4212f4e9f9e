"""`DAFT_RUNNER=k8s` for scripts that never mention daft_k8s.

`daft_k8s.pth` imports this module at the start of Python when `DAFT_RUNNER` is `k8s`. It waits for
`import daft` and then takes the place of Daft's Ray runner, configured by the environment. Nothing
starts before the first query.
"""

from __future__ import annotations

import os
from types import ModuleType

from daft_k8s._after_import import after_import

_WORKER_VARIABLE = "DAFT_FLOTILLA_WORKER"

_TAKEN_OVER = "DAFT_K8S_INTERNAL_RUNNER"
"""Tells child processes that the `ray` in `DAFT_RUNNER`, which they inherit, stands for k8s."""


def take_over(_daft: ModuleType) -> None:
    """Runs after `import daft`."""
    from daft_k8s.config import load
    from daft_k8s.seam.install import install, use_configuration_source

    install()
    # Daft's own code knows a distributed runner by this name only.
    os.environ["DAFT_RUNNER"] = "ray"
    os.environ[_TAKEN_OVER] = "k8s"
    use_configuration_source(lambda: load({}))


def begin() -> None:
    """Waits for Daft, if this process shall be a driver."""
    runner = os.environ.get("DAFT_RUNNER", "").lower()
    wanted = runner == "k8s" or (runner == "ray" and _TAKEN_OVER in os.environ)
    if wanted and os.environ.get(_WORKER_VARIABLE) != "1":
        after_import("daft", take_over)


begin()
