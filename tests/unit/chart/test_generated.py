"""What scripts/chart.py writes, and that nothing of the chart is left out. Needs no helm."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

import pytest
import yaml

from daft_k8s.config.fields import FIELDS
from tests.unit.chart.charts import CHART

ROOT = CHART.parents[1]


def load_generator() -> Any:
    spec = importlib.util.spec_from_file_location("chart_generator", ROOT / "scripts" / "chart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


generator = load_generator()


def test_the_written_parts_are_what_the_options_and_rights_say() -> None:
    stale = [path.name for path, text in generator.written().items() if path.read_text() != text]
    assert stale == [], "run: python scripts/chart.py"


def test_every_option_is_a_value_of_the_chart() -> None:
    workers = yaml.safe_load((CHART / "values.yaml").read_text())["workers"]
    assert list(workers) == [generator.value_name(name) for name in FIELDS]


def test_every_value_says_what_it_is_for() -> None:
    text = (CHART / "values.yaml").read_text()
    documented = {value.path for value in generator.documented_values(text)}

    def undocumented(values: dict[str, Any], prefix: str = "") -> list[str]:
        found = []
        for key, value in values.items():
            path = prefix + key
            if path in documented:
                continue
            found += undocumented(value, f"{path}.") if isinstance(value, dict) and value else [path]
        return found

    assert undocumented(yaml.safe_load(text)) == []


def test_the_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> None:
        properties = schema.get("properties")
        if properties is None or schema.get("additionalProperties") is not False:
            return
        assert set(properties) - {"global", "claims"} >= set(values), path
        assert set(properties) - set(values) <= {"global", "claims", "rules"}, path
        for key, value in values.items():
            if isinstance(value, dict):
                compare(value, properties[key], f"{path}/{key}")

    assert schema["additionalProperties"] is False
    compare(values, schema)


def test_a_documented_value_is_read_with_its_whole_comment() -> None:
    text = "a:\n  # -- What it is,\n  # and why.\n  b: [1, 2]\n  # no documentation\n  c: 3\n"
    assert list(generator.documented_values(text)) == [generator.Value("a.b", [1, 2], "What it is, and why.")]


def test_marks_that_are_missing_are_an_error() -> None:
    with pytest.raises(SystemExit, match="marks"):
        generator.between("text", "BEGIN", "END", "content")
