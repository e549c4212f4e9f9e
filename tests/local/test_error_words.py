"""Errors as a user reads them: all that a script prints. Each reason stands there once, with what to do.

Not covered: those of Pods, whose reasons are made in tests/unit/kube/pods.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
import daft, daft_k8s
from daft import col
{prelude}

def price(x):
    if x == 3:
        {deed}
    return x

if __name__ == "__main__":
    daft_k8s.set_runner_k8s(num_workers=3, worker_cpu=1, worker_memory="512Mi", {options})
    udf = daft.func(price, return_dtype=daft.DataType.int64())
    rows = daft.from_pydict({{"x": list(range(10))}}).into_partitions(5).select(udf(col("x")))
    {action}
"""


AS_IN_PODS = "from daft_k8s.seam import runner; runner.find_write = lambda builder: None"
"""Local workers write to a folder beside the destination, Pods straight into it."""


def told(
    folder: Path, *, prelude: str = "", deed: str = "pass", options: str = "", action: str = "rows.collect()"
) -> str:
    """Runs a script that must fail; returns what it wrote to its standard error."""
    script = folder / "job.py"
    script.write_text(SCRIPT.format(prelude=prelude, deed=deed, options=options, action=action))
    environment = {**os.environ, "DAFT_PROGRESS_BAR": "0", "DAFT_ANALYTICS_ENABLED": "0"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_an_error_of_a_udf_shows_the_line_and_is_the_last_thing_that_is_said(tmp_path: Path) -> None:
    text = told(tmp_path, deed='raise ValueError("no price")')
    assert text.count("ValueError: no price") == 1, text
    line = 1 + (tmp_path / "job.py").read_text().splitlines().index('        raise ValueError("no price")')
    frame = f'  File "{tmp_path / "job.py"}", line {line}, in price\n    raise ValueError("no price")\n'
    assert text.endswith(f"the UDF failed here:\n{frame}"), text


def test_workers_that_cannot_start_tell_their_reason_once(tmp_path: Path) -> None:
    text = told(tmp_path, options='pip=["/no/such/package"], worker_output=False')
    assert text.count("Invalid requirement") == 1, text
    assert "worker-0 and 2 more: worker-0 (pid" in text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="an older Python logs what newer ones add to an error")
def test_a_write_that_failed_says_what_is_there_and_where(tmp_path: Path) -> None:
    out = tmp_path / "out"
    deed, action = 'raise ValueError("no price")', f"rows.write_parquet({str(out)!r})"
    assert told(tmp_path, deed=deed, action=action).endswith(f"\nnothing was written to {out}\n")
    text = told(tmp_path, deed=deed, action=action, prelude=AS_IN_PODS)
    last = text.splitlines()[-1]
    assert f" to {out}" in last, text
    if "had written" in last:
        assert any(str(file) in last for file in out.iterdir()), last
        assert last.endswith("These files stay: remove them before you write again")


def test_a_udf_that_ends_its_workers_tells_their_last_lines_once_at_the_end(tmp_path: Path) -> None:
    text = told(
        tmp_path,
        deed='print("last words", flush=True); os._exit(3)',
        options="worker_output=False, max_task_attempts=2",
    )
    assert text.count("last words") == 1, text
    assert text.endswith("; last log lines:\n  last words\n"), text
    assert text.count("Traceback") == 1, text
