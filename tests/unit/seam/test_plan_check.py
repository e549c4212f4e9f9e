"""What is refused before a plan runs. Daft makes the plans; of resource requests they are its print-outs, cut short.

Not covered: that Daft runs what is let through. tests/local runs a few of these, the others were tried by hand.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Callable
from typing import Any

import daft
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from daft import DataFrame, col
from daft.context import get_context
from daft.daft import DistributedPhysicalPlan
from daft.functions import monotonically_increasing_id, prompt
from daft.logical.builder import LogicalPlanBuilder

from daft_k8s.config import load
from daft_k8s.errors import ConfigurationError, UnsupportedError
from daft_k8s.seam.plan_check import (
    find_endless_wait,
    largest_requests,
    refuse_endless_wait,
    refuse_impossible_requests,
    refuse_sort_merge_join,
)

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


@daft.func
def same(value: int) -> int:
    return value


@daft.func(return_dtype=daft.DataType.list(daft.DataType.int64()))
def twice(value: int) -> list[int]:
    return [value, value]


@daft.cls(max_concurrency=1)
class Same:
    def __call__(self, value: int) -> int:
        return value


def numbers(partitions: int = 4) -> DataFrame:
    return daft.range(1000, partitions=partitions).with_column("rest", col("id") % 5)


def others(partitions: int = 2) -> DataFrame:
    return daft.range(40, partitions=partitions).with_column("other", col("id") + 1)


def answer(provider: str) -> daft.Expression:
    return prompt(col("id").cast(daft.DataType.string()), provider=provider, model="small")


def plan_of(builder: LogicalPlanBuilder) -> str:
    """The plan as the runner has Daft print it."""
    config = get_context().daft_execution_config
    plan = DistributedPhysicalPlan.from_logical_plan_builder(builder.optimize(config)._builder, "query", config)
    text: str = plan.repr_json({})
    return text


def into_partitions(df: DataFrame) -> str:
    """The plan of two partitions of the DataFrame."""
    return plan_of(df._builder.into_partitions(2))


def types_of(plan: str) -> set[str]:
    def walk(node: dict[str, Any]) -> set[str]:
        return {node["type"]}.union(*(walk(child) for child in node.get("children") or ()))

    return walk(json.loads(plan))


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


def test_a_plan_with_a_sort_merge_join_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogicalPlanBuilder, "join", inspect.unwrap(LogicalPlanBuilder.join))
    with pytest.raises(UnsupportedError, match=r'drops rows .* strategy="hash"'):
        refuse_sort_merge_join(plan_of(numbers().join(others(), on="id", strategy="sort_merge")._builder))
    named_so = numbers().with_column("SortMergeJoin", col("id"))
    refuse_sort_merge_join(plan_of(named_so.join(others(), on="id", strategy="hash")._builder))


HAND_TASKS_ON: dict[str, Callable[[DataFrame], DataFrame]] = {
    "Limit": lambda df: df,
    "Project": lambda df: df.with_column("more", col("id") + 1),
    "Filter": lambda df: df.where(col("id") > 1),
    "UDF same": lambda df: df.with_column("more", same(col("id"))),
    "ActorUDF": lambda df: df.with_column("more", Same()(col("id"))),
    "Explode": lambda df: df.with_column("more", twice(col("id"))).explode("more"),
    "Unpivot": lambda df: df.unpivot("id", ["rest"]),
    "Sample": lambda df: df.sample(0.9),
    "Monotonic ID": lambda df: df.with_column("more", monotonically_increasing_id()),
    "prompt": lambda df: df.with_column("more", answer("openai")),
    "Concat": lambda df: df.concat(numbers()),
    "Concat, second": lambda df: numbers().concat(df),
    "CrossJoin": lambda df: df.join(others().select("other"), how="cross"),
    "CrossJoin, second": lambda df: others().select("other").join(df, how="cross"),
    "BroadcastJoin, second": lambda df: df.join(others(), on="id", how="left", strategy="broadcast"),
}
"""Nodes between a limit() and an into_partitions() with which Daft waits for ever."""

OF_ONE_PARTITION: dict[str, Callable[[DataFrame], DataFrame]] = {
    "GroupedAggregate": lambda df: df.groupby("rest").agg(col("id").sum()),
    "Sum": lambda df: df.agg(col("id").sum()),
    "Dedup": lambda df: df.distinct(),
    "Pivot": lambda df: df.pivot("id", "rest", "id", "sum", names=["1", "2"]),
    "Window": lambda df: df.with_column("more", col("id").sum().over(daft.Window().partition_by("rest"))),
    "TopN 1": lambda df: df.sort("id").limit(1),
    "HashJoin": lambda df: df.join(others(1).limit(9), on="id", strategy="hash"),
}
"""Nodes that do so where nothing is shuffled before them."""

END_WITH_THEIR_TASKS: dict[str, Callable[[DataFrame, str], DataFrame]] = {
    "prompts for vLLM": lambda df, _: df.with_column("more", answer("vllm-prefix-caching")),
    "skip_existing()": lambda df, existing: df.skip_existing(existing, key_column="id", file_format="parquet"),
}
"""Nodes that Daft's into_partitions() waits for, too."""

RUN_TASKS_FIRST: dict[str, Callable[[DataFrame], DataFrame]] = {
    **{node: query for node, query in OF_ONE_PARTITION.items() if node != "TopN 1"},
    "Repartition": lambda df: df.distinct(),
    "Gather": lambda df: df.count(),
    "Sort": lambda df: df.sort("id"),
    "RandomShuffle": lambda df: df.shuffle(),
    "IntoBatches": lambda df: df.into_batches(10),
    "AsofJoin": lambda df: df.join_asof(others(), on="id"),
    "BroadcastJoin": lambda df: df.join(others(), on="id", how="right", strategy="broadcast"),
}
"""Nodes with which it answers."""


def refusal(plan: str) -> str:
    """What the plan is refused with; nothing if it is let through."""
    try:
        refuse_endless_wait(find_endless_wait(plan))
    except UnsupportedError as error:
        assert find_endless_wait(plan)
        return str(error)
    assert not find_endless_wait(plan)
    return ""


@pytest.fixture(scope="module")
def existing(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("existing")
    pq.write_table(pa.table({"id": [1, 2]}), folder / "rows.parquet")
    return str(folder)


needs_openai = pytest.mark.skipif(
    importlib.util.find_spec("openai") is None, reason="openai is not installed: Daft makes no plan of its prompts"
)


@pytest.mark.parametrize(
    "node", [pytest.param(node, marks=needs_openai) if node == "prompt" else node for node in HAND_TASKS_ON]
)
def test_into_partitions_that_would_wait_for_a_limit_for_ever_is_refused(node: str) -> None:
    query = HAND_TASKS_ON[node]
    plan = into_partitions(query(numbers().limit(20)))
    assert node.partition(",")[0] in types_of(plan)
    assert refusal(plan).startswith("into_partitions() of a limited DataFrame")
    assert not refusal(into_partitions(query(numbers())))


@pytest.mark.parametrize("node", OF_ONE_PARTITION)
def test_it_is_refused_where_one_partition_needs_no_shuffle_between(node: str) -> None:
    query = OF_ONE_PARTITION[node]
    plan = into_partitions(query(numbers(1).limit(20)))
    assert node in types_of(plan)
    assert refusal(plan).startswith("into_partitions() of a limited DataFrame")
    assert not refusal(into_partitions(query(numbers(1))))


def test_a_hash_join_ends_with_the_side_that_has_an_end() -> None:
    limited, whole = numbers(1).limit(20), others(1)
    for df in (limited.join(whole, on="id", strategy="hash"), whole.join(limited, on="id", strategy="hash")):
        plan = into_partitions(df)
        assert {"HashJoin", "Limit"} <= types_of(plan) and "Repartition" not in types_of(plan)
        assert not refusal(plan)


@pytest.mark.parametrize("node", RUN_TASKS_FIRST)
def test_into_partitions_of_what_runs_a_limit_first_is_let_through(node: str) -> None:
    plan = into_partitions(RUN_TASKS_FIRST[node](numbers().limit(20)))
    assert {node, "Limit"} <= types_of(plan)
    assert not refusal(plan)


@pytest.mark.parametrize("words", END_WITH_THEIR_TASKS)
def test_into_partitions_of_what_ends_with_its_tasks_is_refused_by_name(words: str, existing: str) -> None:
    df = END_WITH_THEIR_TASKS[words](numbers(), existing)
    assert refusal(into_partitions(df)).startswith(f"into_partitions() of a DataFrame with {words}")
    assert not refusal(into_partitions(df.sort("id")))
