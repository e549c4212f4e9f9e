"""The quick start on one machine, done as it stands but for the build. On a cluster: tests/integration/test_docs.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT, blocks

DONE_BEFORE = {"make build", ". .venv/bin/activate"}


def test_the_quick_start_on_this_machine_runs_as_it_stands(tmp_path: Path) -> None:
    page = blocks("docs/index.md")
    (tmp_path / "totals.py").write_text(next(block.text for block in page if block.language == "python"))
    command = tmp_path / "daft-k8s"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m daft_k8s.cli "$@"\n')
    command.chmod(0o755)
    lines = [line for block in page if block.language == "sh" for line in block.text.splitlines()]
    local = [line for line in lines[: lines.index("IMAGE=registry.example.com/daft-k8s:0.1.0")] if line]
    assert set(local) > DONE_BEFORE
    done = subprocess.run(
        ["bash", "-ec", "\n".join(line for line in local if line not in DONE_BEFORE)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "small" in done.stdout and "30" in done.stdout and "70" in done.stdout
