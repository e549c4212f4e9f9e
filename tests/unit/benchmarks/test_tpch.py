"""Covers TPC-H at scale factor 0.01: the generated files, the reference's cache, and all queries on native Daft.

Needs the generator and DuckDB (dependency group `demo`). Not covered: daft_k8s itself (tests/local), larger data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("duckdb", reason="the reference engine is not installed (dependency group 'demo')")

from benchmarks.process import EngineError, EngineProcess
from benchmarks.suite import QueryRun
from benchmarks.tpch import data
from benchmarks.tpch.answers import NUMBERS, Reference, ordering_of, sql_of
from benchmarks.verdict import DAFT_WRONG, FAILED, RIGHT, WRONG, judge

SCALE_FACTOR = 0.01
ANSWER_TIMEOUT_SECONDS = 60


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data.generate(SCALE_FACTOR, cache_root=tmp_path_factory.mktemp("tpch"))


@pytest.fixture(scope="module")
def native(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    log = tmp_path_factory.mktemp("native") / "native.log"
    with EngineProcess("native", log=log) as process:
        process.start(data=tables, scale_factor=SCALE_FACTOR)
        yield process


def test_every_table_has_its_rows_and_plain_types(tables: Path):
    rows = {table: sum(pq.read_metadata(f).num_rows for f in data.files_of(tables, table)) for table in data.TABLES}
    assert rows.pop("lineitem") == 60_175
    assert rows == {
        "region": 5,
        "nation": 25,
        "supplier": 100,
        "customer": 1_500,
        "part": 2_000,
        "partsupp": 8_000,
        "orders": 15_000,
    }
    for table in data.TABLES:
        for field in pq.read_schema(data.files_of(tables, table)[0]):
            assert not pa.types.is_string_view(field.type) and not pa.types.is_floating(field.type), field


def test_money_is_decimal(tables: Path):
    schema = pq.read_schema(data.files_of(tables, "lineitem")[0])
    assert schema.field("l_extendedprice").type == pa.decimal128(15, 2)


def test_a_second_run_generates_nothing(tables: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data.subprocess, "run", None)
    assert data.generate(SCALE_FACTOR, cache_root=tables.parent) == tables


def test_an_interrupted_run_is_continued_and_shows_nothing_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Interrupted(Exception):
        pass

    def interrupt(table: str, done: int, total: int) -> None:
        if table == "customer":
            raise Interrupted

    with pytest.raises(Interrupted):
        data.generate(0.001, cache_root=tmp_path, progress=interrupt)
    target = data.directory_of(0.001, tmp_path)
    assert not target.exists()
    partial = tmp_path / "sf0.001.partial"
    before = {path: path.stat().st_mtime_ns for path in partial.glob("*/*-of-*.parquet")}
    assert {path.parent.name for path in before} >= {"region", "nation", "supplier", "customer"}

    data.generate(0.001, cache_root=tmp_path)
    assert not partial.exists()
    for path, modified in before.items():
        assert (target / path.relative_to(partial)).stat().st_mtime_ns == modified, "written a second time"
    manifest = json.loads((target / data.MANIFEST).read_text())
    assert manifest["rows"]["customer"] == 150


def test_parts_of_a_table_together_hold_the_whole_table(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "MINIMUM_ROWS_TO_SPLIT", 0)
    monkeypatch.setattr(data, "ROWS_PER_PART", {"orders": 4_000})
    split = data.generate(SCALE_FACTOR, cache_root=tmp_path)
    files = data.files_of(split, "orders")
    assert len(files) == 4
    whole = pq.read_table(data.files_of(tables, "orders")[0])
    assert pa.concat_tables([pq.read_table(file) for file in files]).sort_by("o_orderkey").equals(whole)


@pytest.mark.parametrize("scale_factor", [0, -1, float("nan"), float("inf")])
def test_a_senseless_scale_factor_is_refused(scale_factor: float):
    with pytest.raises(ValueError, match="scale factor"):
        data.directory_of(scale_factor)


def test_the_reference_is_computed_once(tables: Path, monkeypatch: pytest.MonkeyPatch):
    reference = Reference(tables, scale_factor=SCALE_FACTOR)
    first = reference.answer(6)
    monkeypatch.setattr(Reference, "_connection", None)
    assert reference.answer(6).equals(first)


def test_limits_and_order_keys_are_known_for_every_query():
    limits = {number: ordering_of(number).limit for number in NUMBERS if ordering_of(number).limit is not None}
    assert limits == {2: 100, 3: 10, 10: 20, 18: 100, 21: 100}
    for number in NUMBERS:
        has_order = "order by" in sql_of(number, scale_factor=1)
        assert bool(ordering_of(number).keys) == has_order, f"q{number}"


@pytest.mark.parametrize("number", NUMBERS)
def test_native_daft_answers_as_duckdb_does(number: int, tables: Path, native: EngineProcess, tmp_path: Path):
    answer = tmp_path / "answer.parquet"
    native.call(ANSWER_TIMEOUT_SECONDS, "tpch", query=number, answer=str(answer))
    verdict = judge(QueryRun(number=number, answer=answer), Reference(tables, scale_factor=SCALE_FACTOR), native=None)
    assert verdict.word == RIGHT, verdict.detail


def test_a_wrong_answer_is_told_from_one_that_daft_gives_too(tables: Path, tmp_path: Path):
    reference = Reference(tables, scale_factor=SCALE_FACTOR)
    right, wrong = reference.answer(1), reference.answer(1).slice(1)
    pq.write_table(right, tmp_path / "right.parquet")
    pq.write_table(wrong, tmp_path / "wrong.parquet")
    right_run = QueryRun(number=1, answer=tmp_path / "right.parquet")
    wrong_run = QueryRun(number=1, answer=tmp_path / "wrong.parquet")
    also_wrong = QueryRun(number=1, answer=tmp_path / "wrong.parquet")
    assert judge(right_run, reference, native=wrong_run).word == RIGHT
    assert judge(wrong_run, reference, native=right_run).word == WRONG
    assert judge(wrong_run, reference, native=also_wrong).word == DAFT_WRONG
    assert judge(wrong_run, reference, native=wrong_run).word == WRONG, "native cannot excuse itself"
    assert judge(QueryRun(number=1, error="boom"), reference, native=right_run).word == FAILED


def test_a_failing_command_leaves_the_engine_usable(native: EngineProcess):
    with pytest.raises(EngineError, match="KeyError") as caught:
        native.call(ANSWER_TIMEOUT_SECONDS, "tpch", query=23, answer=None)
    assert not caught.value.engine_lost
    assert native.call(ANSWER_TIMEOUT_SECONDS, "tpch", query=6, answer=None)["rows"] == 1


def test_small_workloads_check_their_own_results(native: EngineProcess):
    assert native.call(ANSWER_TIMEOUT_SECONDS, "tasks", count=20)["rows"] == 20
    assert native.call(ANSWER_TIMEOUT_SECONDS, "shuffle", maps=4, reduces=5)["rows"] == 20
    answer = native.call(ANSWER_TIMEOUT_SECONDS, "big_shuffle", gigabytes=0.01, maps=3, reduces=4)
    assert answer["problems"] == []
    assert answer["bytes"] == pytest.approx(1e7, rel=0.001)


def test_an_engine_that_does_not_answer_in_time_is_killed(tmp_path: Path):
    with EngineProcess("native", log=tmp_path / "log") as process:
        with pytest.raises(EngineError, match=r"no answer to start within 0\.01 s") as caught:
            process.call(0.01, "start", data=None, scale_factor=1.0)
        assert caught.value.engine_lost
        with pytest.raises(EngineError, match="exit status -9"):
            process.call(ANSWER_TIMEOUT_SECONDS, "stop")
