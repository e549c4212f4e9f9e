"""Every Python block runs, with local workers; those marked as not run are compiled, and their settings are checked.

The blocks of a page are one script, in a folder of its own. One that begins with an import begins anew, as a script
that a reader copies would: the session before it has ended.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daft_k8s.config import load
from tests.docs.blocks import ROOT, Block, all_blocks, blocks

PYTHON = all_blocks("python")
TO_RUN = sorted({block.document for block in PYTHON if block.not_run is None})
ANEW = "import daft_k8s; daft_k8s.shutdown()"
SECONDS = 100


def as_script(document: str) -> str:
    """The page's blocks, each on the lines that it has in the document, so that a traceback leads there."""
    lines: list[str] = []
    for block in blocks(document):
        if block.language != "python" or block.not_run is not None:
            continue
        lines += [""] * (block.line - 1 - len(lines))
        if block.text.startswith(("import ", "from ")):
            lines[-1] = ANEW
        lines += block.text.splitlines()
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("document", TO_RUN)
def test_the_python_of_a_page_runs(document: str, tmp_path: Path) -> None:
    script = tmp_path / f"{Path(document).stem.lower()}.py"
    script.write_text(as_script(document))
    environment = {**os.environ, "DAFT_RUNNER": "k8s", "DAFT_K8S_NUM_WORKERS": "1", "DAFT_K8S_WORKER_CPU": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"line numbers are those of {document}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("block", [block for block in PYTHON if block.not_run is not None], ids=str)
def test_python_that_is_not_run_is_valid(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", [block for block in PYTHON if "set_runner_k8s(" in block.text], ids=str)
def test_every_setting_that_a_block_shows_is_accepted(block: Block, tmp_path: Path) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("set_runner_k8s"):
            load({keyword.arg or "": ast.literal_eval(keyword.value) for keyword in node.keywords}, {})
