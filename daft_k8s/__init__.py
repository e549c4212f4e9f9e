"""Daft's distributed plans on Kubernetes or local worker processes, without Ray.

Here is the public API and nothing else; `docs/architecture.md` draws the rooms behind it. Importing
this package is cheap and does not import Daft. Once Daft is imported, `daft.set_runner_k8s` is the
same function as `daft_k8s.set_runner_k8s`.
"""

from types import ModuleType
from typing import TYPE_CHECKING

from daft_k8s.boot.after_import import after_import
from daft_k8s.boot.inheritance import is_worker

__all__ = ["__version__", "set_runner_k8s", "shutdown"]


def _offer(daft: ModuleType) -> None:
    if not is_worker():
        from daft_k8s.api import offer_in_daft

        offer_in_daft(daft)


after_import("daft", _offer)


if TYPE_CHECKING:
    from daft_k8s.api import set_runner_k8s, shutdown

    __version__: str
else:
    # When asked for: a worker imports this package too, and nothing of the driver.
    def __getattr__(name: str) -> object:
        if name == "__version__":
            from daft_k8s.boot.version import version

            return version()
        if name in __all__:
            from daft_k8s import api

            return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
