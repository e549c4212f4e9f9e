"""What is refused before a plan runs. The plans are Daft's own print-outs, cut short."""

from __future__ import annotations

import json

import pytest

from daft_k8s.config import load
from daft_k8s.errors import ConfigurationError, UnsupportedError
from daft_k8s.seam.plan_check import largest_requests, refuse_impossible_requests, refuse_unsupported_nodes

PLAN_TEXT = """\
* UDF infer:
|   Resource request = { num_gpus = 0.5 }
|
* UDF parse:
|   Resource request = { num_cpus = 2, memory_bytes = 1000 }
|
* UDF plain:
|   Resource request = None
"""


def chain(*types: str) -> str:
    node: dict[str, object] = {}
    for node_type in reversed(types):
        node = {"type": node_type, "children": [node] if node else []}
    return json.dumps(node)


def test_the_largest_requests_of_a_plan_are_found() -> None:
    assert largest_requests(PLAN_TEXT) == (2.0, 0.5)
    assert largest_requests("* Filter") == (0.0, 0.0)


def test_what_actors_ask_for_is_not_asked_of_tasks() -> None:
    actors = "* ActorUDF: infer\n|   Resource request = { num_gpus = 50 }\n|\n"
    assert largest_requests(actors + PLAN_TEXT) == (2.0, 0.5)
    assert largest_requests(actors.replace("{ num_gpus = 50 }", "None") + PLAN_TEXT) == (2.0, 0.5)


def test_a_task_that_no_worker_could_ever_run_is_refused() -> None:
    sizes = {"num_workers": 1, "worker_memory": "1Gi"}
    with pytest.raises(ConfigurationError, match="asks for 2 CPUs, but each worker has 1"):
        refuse_impossible_requests(PLAN_TEXT, load({**sizes, "worker_cpu": 1}, environ={}))
    with pytest.raises(ConfigurationError, match=r"asks for 0\.5 GPUs, but each worker has 0"):
        refuse_impossible_requests(PLAN_TEXT, load({**sizes, "worker_cpu": 2}, environ={}))
    refuse_impossible_requests("* Filter", load({**sizes, "worker_cpu": 1}, environ={}))


@pytest.mark.parametrize(
    ("plan", "feature"),
    [
        (chain("IntoPartitions", "VLLMProject", "Limit", "ScanTaskSource"), "into_partitions"),
        (chain("IntoPartitions", "ActorUDF", "Limit", "ScanTaskSource"), "into_partitions"),
        (chain("Sort", "IntoPartitions", "Filter", "UDF f", "Limit", "ScanTaskSource"), "into_partitions"),
    ],
)
def test_a_plan_that_cannot_run_is_refused_by_name(plan: str, feature: str) -> None:
    with pytest.raises(UnsupportedError, match=feature):
        refuse_unsupported_nodes(plan)


@pytest.mark.parametrize(
    "plan",
    [
        chain("Limit", "IntoPartitions", "ScanTaskSource"),
        chain("IntoPartitions", "Sort", "Limit", "ScanTaskSource"),
        chain("Filter", "ScanTaskSource"),
        chain("Project", "ActorUDF", "ScanTaskSource"),
        chain("VLLMProject", "ScanTaskSource"),
    ],
)
def test_other_plans_pass(plan: str) -> None:
    refuse_unsupported_nodes(plan)
