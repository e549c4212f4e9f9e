"""Allocation: where the processes of workers come from, and how their end becomes news for the pool.

Here: launchers, one a kind of allocation (`local` processes, and Pods, which live in `daft_k8s.kube`). Not here: Daft,
the connections to workers, and any decision about how many there are or what runs on them: that is the pool's
(`daft_k8s._native`). Imported by `driver` and `seam`.
"""

from daft_k8s.allocation.driver_snapshot import DriverSnapshot
from daft_k8s.allocation.launchers import Launcher, make_launcher

__all__ = ["DriverSnapshot", "Launcher", "make_launcher"]
