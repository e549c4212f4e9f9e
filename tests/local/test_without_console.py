"""A driver without standard streams, as under some services."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.local import driver_process

SCRIPT = """
import sys
path, folder = sys.argv[1:]
with open(path, "w") as answers:
    import daft, daft_k8s
    session = daft_k8s.set_runner_k8s(num_workers=1, worker_cpu=1, worker_memory="512Mi", spill_dir=folder)
    print(sys.stdin, sys.stdout, sys.stderr, file=answers)
    print(daft.range(4, partitions=2).sort("id", desc=True).to_pydict()["id"], file=answers)
    session.shutdown()
"""


def test_a_driver_whose_descriptors_are_closed_runs_queries(tmp_path: Path) -> None:
    variables = driver_process.environment()
    del variables["DAFT_PROGRESS_BAR"]
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path / "answers"), str(tmp_path / "spill")]
    shell = ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *command]
    done = subprocess.run(shell, env=variables, timeout=driver_process.TIMEOUT_SECONDS)
    streams, rows = (tmp_path / "answers").read_text().splitlines()
    assert streams == "None None None"
    assert rows == "[3, 2, 1, 0]"
    assert done.returncode == 0
