"""The options as JSON Schema. That the chart has them: scripts/chart.py; that helm takes them: tests/unit/chart."""

from __future__ import annotations

import re

import pytest

from daft_k8s.config import FIELDS
from daft_k8s.config.schema import schema


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("allocation", {"type": ["string", "null"], "enum": ["local", "pod", "statefulset", None]}),
        ("num_workers", {"type": ["integer", "null"], "minimum": 1, "maximum": 10_000}),
        ("store_memory_share", {"type": ["number", "null"], "minimum": 0.05, "maximum": 0.9}),
        ("spill_dir", {"type": ["string", "null"], "pattern": "^/"}),
        ("event_log", {"type": ["string", "null"], "minLength": 1}),
        ("worker_cpu", {"type": ["string", "number", "null"], "pattern": r"^[0-9]*\.?[0-9]+m?$", "minimum": 0.1}),
    ],
)
def test_an_option_may_be_null_or_one_of_its_values(option: str, expected: dict[str, object]) -> None:
    assert schema(FIELDS[option]) == expected


def test_bounds_that_are_whole_are_written_so() -> None:
    assert [type(schema(FIELDS["num_workers"])[bound]) for bound in ("minimum", "maximum")] == [int, int]
    assert type(schema(FIELDS["worker_gpu"])["maximum"]) is int


def test_a_pattern_is_for_the_whole_text_and_for_any_engine() -> None:
    for field in FIELDS.values():
        assert "(?=" not in str(schema(field))
    pattern = schema(FIELDS["labels"])["propertyNames"]["pattern"]
    assert re.search(pattern, "a/b") and not re.search(pattern, "a b")
    assert schema(FIELDS["namespace"])["pattern"] == "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)$"


def test_schemas_of_one_kind_are_independent() -> None:
    schema(FIELDS["allocation"])["enum"].append("more")
    assert "more" not in schema(FIELDS["allocation"])["enum"]
