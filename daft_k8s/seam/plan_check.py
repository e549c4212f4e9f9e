"""Looks at a distributed plan before it runs, for what this runner or these workers cannot do.

Daft's scheduler would leave a task that asks for more than any worker has pending for ever.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import ConfigurationError
from daft_k8s.seam import unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daft_k8s.config import Configuration

_REQUEST = re.compile(r"(ActorUDF:)|Resource request = \{([^}]*)\}|Resource request = None")
_QUANTITY = re.compile(r"(num_cpus|num_gpus) = ([0-9.]+)")


_STREAMING_TYPES = frozenset(
    ("ActorUDF", "Filter", "Project", "Explode", "Unpivot", "Sample", "MonotonicallyIncreasingId", "VLLMProject")
)
"""Nodes that hand on tasks without running them first; UDF nodes, named after the UDF, do so too."""


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    waiting = [plan]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.get("children") or ())


def _type_of(node: dict[str, Any]) -> str:
    return str(node.get("type", ""))


def refuse_unsupported_nodes(physical_plan_json: str) -> None:
    """Raises UnsupportedError if a node of the plan, as Daft prints it in `repr_json`, cannot run here."""
    if would_wait_for_ever(physical_plan_json):
        unsupported.refuse(
            "into_partitions() of a limited DataFrame (Daft moves a limit() before it as well)",
            "collect() the DataFrame between the two, or use repartition() instead of into_partitions()",
        )


def would_wait_for_ever(physical_plan_json: str) -> bool:
    """Whether an into_partitions() streams from a limit().

    Daft's into_partitions counts all tasks of its input before it runs one, and its distributed LIMIT offers no end of
    its tasks before they have run: a deadlock.
    """
    nodes = _nodes(json.loads(physical_plan_json))
    return any(_type_of(node) == "IntoPartitions" and _streams_from_limit(node) for node in nodes)


def _streams_from_limit(node: dict[str, Any]) -> bool:
    waiting = list(node.get("children") or ())
    while waiting:
        child = waiting.pop()
        if _type_of(child) == "Limit":
            return True
        if _type_of(child) in _STREAMING_TYPES or _type_of(child).startswith("UDF "):
            waiting.extend(child.get("children") or ())
    return False


def largest_requests(plan_text: str) -> tuple[float, float]:
    """The most CPUs and GPUs that one task of a plan asks for, from Daft's `repr_ascii`."""
    cpus = gpus = 0.0
    of_actors = False
    for actor_udf, request in _REQUEST.findall(plan_text):
        if actor_udf or of_actors:
            # Not the tasks but the UDF's actors need it; where these go is decided when they are started.
            of_actors = bool(actor_udf)
            continue
        for name, amount in _QUANTITY.findall(request):
            if name == "num_gpus":
                gpus = max(gpus, float(amount))
            else:
                cpus = max(cpus, float(amount))
    return cpus, gpus


def refuse_impossible_requests(plan_text: str, configuration: Configuration) -> None:
    """Raises ConfigurationError if a task asks for more than one worker has."""
    cpus, gpus = largest_requests(plan_text)
    if cpus > configuration.slots_per_worker:
        raise ConfigurationError(
            f"a UDF asks for {cpus:g} CPUs, but each worker has {configuration.worker_cpu:g}; "
            "raise worker_cpu or lower the UDF's num_cpus"
        )
    if gpus > configuration.worker_gpu:
        raise ConfigurationError(
            f"a UDF asks for {gpus:g} GPUs, but each worker has {configuration.worker_gpu:g}; "
            "raise worker_gpu or lower the UDF's num_gpus"
        )
