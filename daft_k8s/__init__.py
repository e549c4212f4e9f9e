"""Daft's distributed plans on Kubernetes or local worker processes, without Ray.

Here is the public API and nothing else; `docs/architecture.md` draws the rooms behind it. Importing
this package is cheap and does not import Daft. Once Daft is imported, `daft.set_runner_k8s` is the
same function as `daft_k8s.set_runner_k8s`.
"""

from typing import TYPE_CHECKING

from daft_k8s.api import offer_in_daft, set_runner_k8s, shutdown
from daft_k8s.boot.after_import import after_import

__all__ = ["__version__", "set_runner_k8s", "shutdown"]

after_import("daft", offer_in_daft)


if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        if name == "__version__":
            from daft_k8s.boot.version import version

            return version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
