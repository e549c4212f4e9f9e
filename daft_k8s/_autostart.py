"""`DAFT_RUNNER=k8s` for scripts that never mention daft_k8s.

`daft_k8s.pth` imports this module at the start of Python when `DAFT_RUNNER` is `k8s`. It waits for
`import daft` and then takes the place of Daft's Ray runner, configured by the environment. Nothing
starts before the first query.
"""

from __future__ import annotations

from types import ModuleType

from daft_k8s.boot import inheritance
from daft_k8s.boot.after_import import after_import


def take_over(_daft: ModuleType) -> None:
    """Runs after `import daft`."""
    from daft_k8s.config import load
    from daft_k8s.seam.install import install, use_configuration_source

    install()
    inheritance.pass_on()
    use_configuration_source(lambda: load({}))


def begin() -> None:
    """Waits for Daft, if this process shall be a driver."""
    if inheritance.is_wanted() and not inheritance.is_worker():
        after_import("daft", take_over)


begin()
