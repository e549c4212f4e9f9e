"""The command with real local workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.local.driver_process import TIMEOUT_SECONDS, environment

SIZE = ["-w", "1", "--worker-cpu", "1", "--worker-memory", "512Mi"]


def daft_k8s(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "daft_k8s.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        timeout=TIMEOUT_SECONDS,
    )


def test_a_script_with_a_helper_runs_here_and_its_exit_code_is_returned(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def twice(x): return 2 * x\n")
    (tmp_path / "job.py").write_text(
        """
import sys
import daft
import helper

@daft.func
def twice(x: int) -> int:
    return helper.twice(x)

df = daft.from_pydict({"x": [1, 2, 3]})
print(df.select(twice(df["x"])).to_pydict()["x"], daft.runners.get_or_create_runner().name, sys.argv[1:])
sys.exit(7)
"""
    )
    ended = daft_k8s("run", "--local", *SIZE, "job.py", "--flag", folder=tmp_path)
    assert ended.returncode == 7, ended.stderr
    assert ended.stdout.strip() == "[2, 4, 6] ray ['--flag']"  # Daft's name for a distributed runner


def test_sql_over_files_prints_rows_and_an_error_of_the_query_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("k,v\nx,1\ny,2\nx,3\n")
    query = "SELECT k, sum(v) AS s FROM 'a.csv' GROUP BY k ORDER BY k"
    text = daft_k8s("sql", "--local", *SIZE, query, folder=tmp_path)
    assert text.stdout.split() == ["k", "s", "x", "4", "y", "2", "(2", "rows)"], text.stderr
    rows = daft_k8s("sql", "--local", *SIZE, "-t", "t=a.csv", "--output", "json", "SELECT k FROM t", folder=tmp_path)
    assert sorted(json.loads(line)["k"] for line in rows.stdout.splitlines()) == ["x", "x", "y"]
    wrong = daft_k8s("sql", "--local", *SIZE, "SELECT nothing FROM 'a.csv'", folder=tmp_path)
    assert wrong.returncode == 1
    assert "error:" in wrong.stderr and "Traceback" not in wrong.stderr
