"""Named sets of defaults. Whatever is set anywhere else goes before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from daft_k8s.config.frozen import FrozenMap

DEFAULT_PRESET = "development"

POD_SIZES = ("worker_cpu", "worker_memory")
"""Options whose values in a preset are meant for Pods: local workers share their machine under every preset."""


@dataclass(frozen=True)
class Preset:
    """A set of defaults, and its purpose."""

    purpose: str
    options: FrozenMap[object]


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "development": Preset(
            "A laptop, a notebook, a test: workers are processes of this machine, nothing else is needed.",
            FrozenMap({"allocation": "local"}),
        ),
        "production": Preset(
            "Jobs that must end in the right answer unattended: Pods, patience with a cluster that has to grow, "
            "more restarts, logs for a log store.",
            FrozenMap(
                {
                    "allocation": "pod",
                    # Making a node takes minutes; Spark went from 60 s to 600 s for this.
                    "start_timeout_seconds": 600,
                    # Work that is cut off is done twice.
                    "drain_timeout_seconds": 60,
                    # Long jobs outlive more nodes, on spot machines above all.
                    "max_worker_restarts": 10,
                    "log_format": "json",
                }
            ),
        ),
        "high-performance": Preset(
            "Large queries on machines of their own: few wide Pods, more data in memory, workers kept warm.",
            FrozenMap(
                {
                    "allocation": "pod",
                    # Tasks of one worker share what they read and exchange data without a copy.
                    "worker_cpu": 8,
                    # 8 GiB a core, twice the usual, keeps joins of large tables off the disk.
                    "worker_memory": "64Gi",
                    "store_memory_share": 0.6,
                    # Inputs of more tasks are on their way while all cores work.
                    "queue_ahead": 8,
                    "start_timeout_seconds": 600,
                    # A wide worker's warm state is worth keeping through a pause for thought.
                    "idle_timeout_seconds": 600,
                    "log_format": "json",
                }
            ),
        ),
    }
)
"""The presets by name."""
