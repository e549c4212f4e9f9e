"""Paths in a session of Pods: refused by name before anything runs, unless the Pods see them; all readers and writers.

The queries run in a process of their own, with a pool that runs tasks in it. Not covered: real Pods
(tests/integration/test_paths.py), local workers (tests/local/test_paths.py).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import daft
import pytest

from tests.unit.seam.test_seam_queries import HERE, run_python

FORMS = ("relative", "dotted", "above", "home", "absolute", "uri", "relative uri", "left by ..")
BY_THEMSELVES = 24 if hasattr(daft, "read_blob") else 23
"""Readers and writers that are tried with each form."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("disk")
    for name in ("here", "mounted", "named"):
        (root / name).mkdir()
    return str(root / "mounted"), str(root / "named")


@pytest.fixture(scope="module")
def found(folders: tuple[str, str]) -> dict[str, Any]:
    root = Path(folders[0]).parent
    script = (
        f"import os, runpy, sys; os.chdir({str(root / 'here')!r}); sys.argv[1:] = {list(folders)!r}; "
        f"runpy.run_path({str(HERE / 'pod_path_queries.py')!r}, run_name='__main__')"
    )
    process = run_python("-c", script, HOME=str(root))
    assert process.returncode == 0, process.stderr[-5000:]
    results: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return {**results, "log": process.stderr}


@pytest.mark.parametrize("form", FORMS)
def test_what_only_the_driver_sees_is_refused_by_name(form: str, found: dict[str, Any]) -> None:
    assert len(found[form]) == BY_THEMSELVES
    for name, outcome in found[form].items():
        if name == "write_sink" and form == "relative":  # in a sink of the user's own it may be something else
            assert "Dump holds 'out/sink': if that is a path on a disk" in found["log"]
            continue
        assert outcome.startswith("UnsupportedError: "), (name, outcome)
        place = "/data/" if "/data/" in outcome else "/out/"
        for part in ("here", place, "worker Pods", "s3://", "pod_template", "shared_paths"):
            assert part in outcome, (name, part, outcome)
        assert ("would be lost" in outcome) == (place == "/out/"), (name, outcome)


def test_nothing_was_written_on_the_disk_that_is_not_shared(found: dict[str, Any]) -> None:
    assert found["written"] == ["./out/sink 9"]


@pytest.mark.parametrize("folder", [0, 1], ids=["mounted", "named"])
def test_what_pods_see_is_read_and_written(folder: int, folders: tuple[str, str], found: dict[str, Any]) -> None:
    outcomes = found[folders[folder]]
    assert len(outcomes) == BY_THEMSELVES
    assert all(outcome.startswith("returned ") for outcome in outcomes.values()), outcomes
    written = {name for _, _, names in os.walk(Path(folders[folder]) / "out") for name in names}
    assert {"sink", "row", "constant", "sql"} <= written and len(written) >= 9
    by_uri = {name: outcome for name, outcome in found["mounted uri"].items() if name != "write_sink"}
    assert all(outcome.startswith("returned ") for outcome in by_uri.values()), by_uri


def test_a_schema_that_the_driver_reads_needs_no_worker(found: dict[str, Any]) -> None:
    assert found["more"]["schema alone"] == "returned ['a']"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sql url_upload row by row", "url_upload() takes its locations from col(1: to)"),
        ("long path", "/somewhere/very long name/"),
        ("read_sql", "a read of a database from 'here.db'"),
        ("write_deltalake", "a write of a table to '/data/table'"),
        ("alias", "a write to 'mine:///data/out'"),
    ],
)
def test_other_ways_to_a_disk_are_refused_too(name: str, words: str, found: dict[str, Any]) -> None:
    assert found["more"][name].startswith("UnsupportedError: ") and words in found["more"][name]


def test_this_daft_has_all_functions_that_are_looked_at(found: dict[str, Any]) -> None:
    assert "this Daft has no" not in found["log"]


def test_texts_in_data_are_no_paths(found: dict[str, Any]) -> None:
    assert found["more"]["in memory"].startswith("returned ") and found["more"]["filter"] == "returned 0"
