"""The copy of Daft's tests that runs against the installed wheel. Not covered: the tests themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.checkout import staged


@pytest.mark.parametrize("first", ["from __future__ import annotations\n", ""])
def test_dafts_conftest_finds_a_runner_also_where_udfs_see_none(tmp_path: Path, first: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_text(
        f'"""Words."""\n{first}import os\nprint(os.environ["DAFT_RUNNER"])\n'
    )
    with staged(tmp_path, without_ray=True) as stage:
        for environment, named in (({}, "native"), ({"DAFT_RUNNER": "ray"}, "ray")):
            process = subprocess.run(
                [sys.executable, "-S", stage / "tests" / "conftest.py"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert process.stdout == f"{named}\n", process.stderr
