"""The report of mutation scores, from files as mutmut and cargo-mutants leave them. The tools: make mutation."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
MUTATED = """\
def x_add__mutmut_orig(a, b):
    return a + b


def x_add__mutmut_1(a, b):
    return a - b


def x_add__mutmut_2(a, b):
    return cast(None, a + b)
"""


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutation_report", ROOT / "scripts" / "mutation_report.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutation_report", module)
    spec.loader.exec_module(module)
    for name, path in (("ROOT", ""), ("SURVIVORS", "survivors.txt"), ("EXPLAINED", "explained.txt")):
        monkeypatch.setattr(module, name, tmp_path / path)
    (tmp_path / "explained.txt").write_text("# why\ndaft_k8s/code/* :: => .*cast\\(None\n")
    return module


def leave(root: Path, results: dict[str, int | None], outcomes: list[tuple[str, str]]) -> None:
    folder = root / "mutants" / "daft_k8s" / "code"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text(MUTATED)
    (folder / "a.py.meta").write_text(json.dumps({"exit_code_by_key": results}))
    folder = root / "target" / "mutation" / "mutants.out"
    folder.mkdir(parents=True)
    file = "rust_ext/core/src/a.rs"
    found = [
        {"scenario": {"Mutant": {"file": file, "name": f"{file}:1:2: {name}"}}, "summary": summary}
        for name, summary in outcomes
    ]
    (folder / "outcomes.json").write_text(json.dumps({"outcomes": [{"scenario": "Baseline"}, *found]}))


def test_survivors_count_unless_they_are_explained(
    report: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {f"daft_k8s.code.a.x_add__mutmut_{number}": code for number, code in ((1, 0), (2, 0), (3, 1), (4, None))}
    leave(tmp_path, names, [("replace a", "CaughtMutant"), ("replace b", "Unviable"), ("replace c", "Timeout")])
    with pytest.raises(SystemExit, match=r"Below 90 %: code\."):
        report.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["code", "3", "1", "0", "1", "1", "0", "50.0%"]
    assert lines[2] == ["core", "3", "1", "1", "0", "0", "1", "100.0%"]
    survivors = (tmp_path / "survivors.txt").read_text()
    assert survivors == "daft_k8s/code/a.py: add: return a + b => return a - b\n"


def test_a_run_without_mutants_is_an_error(report: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"No mutant was tried"):
        report.main()


def test_every_explanation_can_be_read_and_has_a_reason(report: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    explained = ROOT / "scripts" / "mutation_explained.txt"
    monkeypatch.setattr(report, "EXPLAINED", explained)
    assert report.explanations()
    blocks = explained.read_text().strip().split("\n\n")
    assert [block for block in blocks if not block.startswith("# ")] == []
