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
_END_WITH_THEIR_TASKS = {
    "Limit": "into_partitions() of a limited DataFrame (Daft moves a limit() before it as well)",
    "VLLM": "into_partitions() of a DataFrame with prompts for vLLM",
    "KeyFilteringJoin": "into_partitions() of a DataFrame with skip_existing() or checkpoint=",
}
"""Nodes that offer no end of their tasks before these have run, by the first word of the name that Daft shows. With
each the use that is refused, where an into_partitions() waits for that end."""

_RUN_THEIR_INPUT_FIRST = frozenset(("AsofJoin", "Gather", "IntoBatches", "RandomShuffle", "Repartition", "Sort"))
"""Nodes that run the tasks of their inputs, so that these come to an end. All others are taken to hand tasks on as they
are. If a node is missing here, a query that would run may be refused. If one is too many, a query may hang."""

_SORT_MERGE_JOIN = "SortMergeJoin"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All nodes, each before its inputs."""
    waiting = [plan]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(_inputs(node))


def _inputs(node: dict[str, Any]) -> list[dict[str, Any]]:
    return list(node.get("children") or ())


def _type_of(node: dict[str, Any]) -> str:
    return str(node.get("type", ""))


def refuse_endless_wait(what: str | None) -> None:
    """Raises UnsupportedError if `find_endless_wait` has found something."""
    if what is not None:
        unsupported.refuse(
            what,
            "collect() the DataFrame between the two, or use repartition() instead of into_partitions()",
        )


def find_endless_wait(physical_plan_json: str) -> str | None:
    """Finds an into_partitions() that would wait for ever, and describes it.

    Daft's into_partitions counts all tasks of its input before it runs one: a deadlock.

    Args:
        physical_plan_json: The plan as Daft prints it in `repr_json`.
    """
    ends_with: dict[int, str | None] = {}
    for node in reversed(list(_nodes(json.loads(physical_plan_json)))):
        of_inputs = [ends_with[id(child)] for child in _inputs(node)]
        ends_with[id(node)] = _ends_with(_type_of(node), of_inputs)
        if _type_of(node) == "IntoPartitions" and any(of_inputs):
            return ends_with[id(node)]
    return None


def _ends_with(node_type: str, of_inputs: list[str | None]) -> str | None:
    """Describes the refused use of into_partitions() if this node announces no end of its tasks before they run."""
    first_word = node_type.partition(" ")[0]
    if first_word in _END_WITH_THEIR_TASKS:
        return _END_WITH_THEIR_TASKS[first_word]
    if node_type in _RUN_THEIR_INPUT_FIRST:
        return None
    if node_type == "BroadcastJoin":
        of_inputs = of_inputs[1:]  # the first is run, and sent to all tasks of the second
    if node_type == "HashJoin" and not all(of_inputs):
        return None  # it pairs tasks until one side ends
    return next(filter(None, of_inputs), None)


def refuse_sort_merge_join(physical_plan_json: str) -> None:
    """Raises UnsupportedError if a plan has a sort-merge join, whose kernel in Daft drops rows of repeated keys.

    `sort_merge.install` has the joins of `DataFrame.join` planned as hash joins. So one that is left here comes from
    Daft's planner, or from a DataFrame that was made before daft_k8s was installed.

    Args:
        physical_plan_json: The plan as Daft prints it in `repr_json`.
    """
    if _SORT_MERGE_JOIN not in physical_plan_json:
        return
    if any(_type_of(node) == _SORT_MERGE_JOIN for node in _nodes(json.loads(physical_plan_json))):
        unsupported.refuse(
            "a sort-merge join, in which Daft drops rows of keys that occur more than once,",
            'make the join after set_runner_k8s() and write join(..., strategy="hash")',
        )


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
