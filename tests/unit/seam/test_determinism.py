"""The determinism of tasks, by their names and the texts of Daft's plans.

Covers real plans. Does not cover how the pool uses it.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import daft
import pytest
from daft import DataFrame, col
from daft.context import get_context
from daft.daft import DistributedPhysicalPlan, LocalPhysicalPlan

from daft_k8s.seam import repetition
from daft_k8s.seam.determinism import (
    DETERMINISTIC_OPERATORS,
    ORDER_DEPENDENT_OPERATORS,
    UNKNOWN,
    Determinism,
    QueryDeterminism,
)

FILE_SCAN = "* ScanTaskSource:\n|   Scan Tasks: [\n|   {File {file:///data/a.parquet}}\n|   ]\n"


def plan_text(df: DataFrame) -> str:
    config = get_context().daft_execution_config
    builder = df._builder.optimize(config)
    return DistributedPhysicalPlan.from_logical_plan_builder(builder._builder, "q", config).repr_ascii(False)


@pytest.fixture
def table(tmp_path: object) -> DataFrame:
    daft.from_pydict({"a": [1, 2], "k": [0, 1]}).write_parquet(str(tmp_path))
    return daft.read_parquet(f"{tmp_path}/*.parquet")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PhysicalScan->Project->RepartitionWrite", Determinism.DETERMINISTIC),
        ("(ShuffleRead, ShuffleRead)->HashJoin->Project", Determinism.DETERMINISTIC_WHOLE),
        ("ShuffleRead->Dedup", Determinism.ORDER_DEPENDENT),
        ("PhysicalScan->UDFProject", Determinism.ORDER_DEPENDENT),
        ("PhysicalScan->DistributedLimit", Determinism.UNREPEATABLE),
        ("ShuffleRead->PhysicalWrite", Determinism.UNREPEATABLE),
        ("PhysicalScan->AnOperatorOfTomorrow", Determinism.UNREPEATABLE),
        ("", Determinism.UNREPEATABLE),
    ],
)
def test_a_task_has_the_worst_of_its_operators(name: str, expected: Determinism) -> None:
    assert QueryDeterminism(FILE_SCAN, uses_flight=False).of_task(name, b"") is expected


def test_of_an_unknown_plan_and_with_flight_shuffle_nothing_is_repeatable() -> None:
    assert UNKNOWN.of_task("Project", b"") is Determinism.UNREPEATABLE
    assert QueryDeterminism(FILE_SCAN, uses_flight=True).of_task("Project", b"") is Determinism.UNREPEATABLE


def test_operators_with_effects_are_in_neither_list() -> None:
    known = DETERMINISTIC_OPERATORS | ORDER_DEPENDENT_OPERATORS
    assert not DETERMINISTIC_OPERATORS & ORDER_DEPENDENT_OPERATORS
    assert known <= repetition.HARMLESS
    assert not known & {"DistributedLimit", "DistributedActorPoolProject", "VLLMProject", "CatalogWrite", "LanceWrite"}


@pytest.mark.parametrize(
    "change",
    [
        lambda df: df.where(col("a").not_null()).select(col("a") * 2, "k"),
        lambda df: df.groupby("k").agg(col("a").sum(), col("a").mean().alias("m"), col("a").count().alias("n")),
        lambda df: df.join(df.select(col("a").alias("b"), "k"), on="k"),
        lambda df: df.sort("a", desc=True),
        lambda df: df.repartition(4, "k"),
    ],
)
def test_ordinary_plans_are_deterministic(table: DataFrame, change: Callable[[DataFrame], DataFrame]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = plan_text(change(table))
    found = QueryDeterminism(text, uses_flight=False)
    assert found.of_task("PhysicalScan->Project->RepartitionWrite", b"") is Determinism.DETERMINISTIC, text


@pytest.mark.parametrize(
    "change",
    [
        lambda df: df.with_column("u", daft.functions.uuid()),
        lambda df: df.with_column("u", daft.functions.random_int(0, 9)),
        lambda df: df.with_column("u", daft.functions.current_timestamp()),
        lambda df: df.groupby("k").agg(col("a").any_value()),
        lambda df: df.groupby("k").agg(col("a").list_agg()),
        lambda df: df.with_column("n", daft.functions.row_number().over(daft.Window().partition_by("k").order_by("a"))),
    ],
)
def test_expressions_of_chance_or_order_make_all_tasks_order_dependent(
    table: DataFrame, change: Callable[[DataFrame], DataFrame]
) -> None:
    text = plan_text(change(table))
    assert (
        QueryDeterminism(text, uses_flight=False).of_task("PhysicalScan->Project", b"") is Determinism.ORDER_DEPENDENT
    ), text


def test_a_column_of_lists_is_no_aggregation_into_a_list(tmp_path: Path) -> None:
    fixed = col("list").cast(daft.DataType.fixed_size_list(daft.DataType.float32(), 2))
    df = daft.from_pydict({"k": [1], "nested": [{"a": [[1]]}], "list": [[1.0, 2.0]]}).with_column("fixed", fixed)
    df.write_parquet(str(tmp_path))
    table = daft.read_parquet(f"{tmp_path}/*.parquet")
    text = plan_text(table.where(col("k") == 1))
    assert "List(" in text, text
    for schema in ("", "|   Schema: {e#Embedding(Float32; 2), f#FixedSizeList(Float32; 2)}\n"):
        query = QueryDeterminism(text + schema, uses_flight=False)
        assert query.of_task("PhysicalScan->RepartitionWrite", b"") is Determinism.DETERMINISTIC
    query = QueryDeterminism(plan_text(table.groupby("k").agg(col("fixed").list_agg())), uses_flight=False)
    assert query.of_task("PhysicalScan->RepartitionWrite", b"") is Determinism.ORDER_DEPENDENT


def test_a_random_shuffle_sends_rows_by_their_place(table: DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = plan_text(table.repartition(4))
    found = QueryDeterminism(text, uses_flight=False)
    assert found.of_task("PhysicalScan->RepartitionWrite", b"") is Determinism.ORDER_DEPENDENT, text
    assert found.of_task("PhysicalScan->Project", b"") is Determinism.DETERMINISTIC_WHOLE


def test_sources_that_are_no_files_may_give_other_rows_when_they_are_read_again() -> None:
    found = QueryDeterminism(plan_text(daft.range(0, 10, 1, 2)), uses_flight=False)
    assert found.of_task("PhysicalScan->Project", b"") is Determinism.ORDER_DEPENDENT
    assert found.of_task("ShuffleRead->Project", b"") is Determinism.DETERMINISTIC_WHOLE


def test_a_plan_is_read_however_narrow_the_terminal_is_that_daft_breaks_its_lines_for() -> None:
    def determinism(text: str, task: str) -> Determinism:
        return QueryDeterminism(text, uses_flight=False).of_task(task, b"")

    broken = "|   Project: coalesce(to_unix_epoch(rand\n|   om_int(col(0: a))))\n"
    assert determinism(broken, "ShuffleRead->Project") is Determinism.ORDER_DEPENDENT
    assert determinism("* RayShuffle:\n|   Random\n", "ShuffleRead->RepartitionWrite") is Determinism.ORDER_DEPENDENT
    assert determinism("* ScanTaskSource:\n|   Scan\n|   Tasks: [\n|   {Python}]\n", "PhysicalScan") is (
        Determinism.ORDER_DEPENDENT
    )
    assert determinism("* ScanTaskSource:\n|   of another form\n", "PhysicalScan") is Determinism.ORDER_DEPENDENT


def test_a_plan_with_very_long_words_is_read_in_linear_time() -> None:
    text = "* Project: " + "f" * 2_000_000 + "(x" * 100_000
    assert QueryDeterminism(text, uses_flight=False).of_task("ShuffleRead->Sort", b"") is not Determinism.UNREPEATABLE


@daft.func
def _tag(a: int) -> int:
    return a % 3


@daft.func.batch(return_dtype=daft.DataType.int64())
def _batch_tag(a: daft.Series) -> daft.Series:
    return a


@pytest.mark.parametrize("tag", [_tag, _batch_tag])
def test_a_users_function_in_any_expression_makes_a_task_order_dependent(
    table: DataFrame, tag: Callable[..., daft.Expression]
) -> None:
    plans = [
        table.select(tag(col("a"))),
        table.groupby(tag(col("a"))).agg(col("k").count()),
        table.sort(tag(col("a"))),
        table.where(tag(col("a")) > 1),
    ]
    for plan in plans:
        builder = plan._builder.optimize(get_context().daft_execution_config)
        local, _ = LocalPhysicalPlan.from_logical_plan_builder(builder._builder, {})
        found = QueryDeterminism(FILE_SCAN, uses_flight=False)
        assert found.of_task("ShuffleRead->Sort", pickle.dumps(local)) is Determinism.ORDER_DEPENDENT
