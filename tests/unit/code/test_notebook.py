"""Notebooks that run as scripts. In the cluster: tests/integration/test_run.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from daft_k8s.code.notebook import read_cells
from daft_k8s.errors import CodeError

ROOT = Path(__file__).resolve().parents[3]


def write(path: Path, *sources: str | list[str]) -> Path:
    text: list[dict[str, object]] = [{"cell_type": "markdown", "source": ["# A notebook"]}]
    text += [{"cell_type": "code", "source": source, "outputs": [], "metadata": {}} for source in sources]
    path.write_text(json.dumps({"cells": text, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "daft_k8s.code.notebook", str(path), *arguments]
    variables = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=variables)


def test_cells_run_in_order_as_main_and_the_value_of_a_last_line_is_printed(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("X = 20\n")
    notebook = write(
        tmp_path / "report.ipynb",
        ["import sys\n", "from helper import X\n", "y = X + 1"],
        "y * 2",
        "y * 3;",
        "",
        "def double(x):\n    return 2 * x\nprint(double.__module__, sys.argv[1:])\nNone",
    )
    done = run(notebook, "--day", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["42", "__main__ ['--day', '1']"]


def test_a_traceback_shows_the_line_of_the_cell(tmp_path: Path) -> None:
    done = run(write(tmp_path / "report.ipynb", "x = 0", "# a comment\n1 / x  # here"))
    assert done.returncode == 1
    assert "<report.ipynb, cell 3>" in done.stderr and "1 / x  # here" in done.stderr


@pytest.mark.parametrize("line", ["%matplotlib inline", "!pip install emoji", "  %time x"])
def test_a_line_for_ipython_is_refused_with_its_cell(tmp_path: Path, line: str) -> None:
    notebook = write(tmp_path / "report.ipynb", "x = 1", f"if x:\n    pass\n{line}")
    with pytest.raises(CodeError, match=r"report\.ipynb, cell 3: .* is for IPython alone"):
        read_cells(notebook)
    done = run(notebook)
    assert done.returncode == 3 and "cell 3" in done.stderr


@pytest.mark.parametrize("text", ["", "[]", '{"worksheets": []}', '{"cells": [{"cell_type": "code"}]}'])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.ipynb").write_text(text)
    with pytest.raises(CodeError, match="not a notebook"):
        read_cells(tmp_path / "x.ipynb")
