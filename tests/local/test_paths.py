"""Paths that a user writes mean the driver's disk: every way to read and write, on local workers as in native Daft.

Not covered: Pods, which have disks of their own (tests/unit/seam/test_pod_paths.py, tests/integration/test_paths.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.local.driver_process import run

SCENARIOS = Path(__file__).parent / "path_scenarios.py"
OPTIONS: dict[str, Any] = {"num_workers": 2, "worker_cpu": 1, "worker_memory": "1Gi", "log_level": "ERROR"}


def found_with(home: Path, argument: str) -> dict[str, dict[str, Any]]:
    """The findings of a driver that starts in an empty folder, which is its home as well."""
    home.mkdir()
    script = f"import os, runpy, sys; os.chdir({str(home)!r}); sys.argv[1:] = [{argument!r}]; " + (
        f"runpy.run_path({str(SCENARIOS)!r}, run_name='__main__')"
    )
    ended = run(script, HOME=str(home))
    assert ended.returncode == 0, ended.stderr[-3000:]
    text = ended.stdout.splitlines()[-1].replace(str(home), "/home/ann")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return found_with(tmp_path_factory.mktemp("native") / "home", "native")


def test_native_daft_reads_and_writes_what_the_scenarios_say(native: dict[str, dict[str, Any]]) -> None:
    first = native["first"]
    assert first["read parquet relative"] == ["{'a': 'of first', 'of': 'data/x.parquet'}"]
    assert first["read udf process relative"] == ["{'path': 'of first\\ndata'}"]
    assert first["write parquet relative"] == "{'path': ['out/parquet/ID-0.parquet']}"
    assert "./out/sink 9" in first["files relative"] and "./out/udf 3" in first["files relative"]
    errors = [name for name, value in first.items() if str(value).endswith(("Error", "Exception"))]
    assert all(name.split()[1] in ("udf", "source", "sink") and name.endswith("uri") for name in errors), errors
    assert native["guard"]["refused"] == "an upload to '/shared/../x' is refused"
    assert native["moved"]["reader"] == ["{'a': 'of second'}"]


@pytest.mark.parametrize("options", [{}, {"working_dir": "."}], ids=["plain", "working_dir"])
def test_paths_mean_the_same_on_local_workers(
    options: dict[str, Any], native: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    found = found_with(tmp_path / "home", json.dumps({**OPTIONS, **options}))
    assert found.keys() == native.keys()
    for part, expected in native.items():
        different = {
            key: (found[part].get(key), value) for key, value in expected.items() if found[part].get(key) != value
        }
        assert not different, f"in {part}: {different}"
