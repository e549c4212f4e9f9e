"""How a run of Daft's tests is asked for."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.run import parse


def test_paths_may_stand_after_the_options(tmp_path: Path) -> None:
    (tmp_path / "tests" / "dataframe").mkdir(parents=True)
    (tmp_path / "tests" / "conftest.py").touch()
    names = [f"tests/dataframe/test_{name}.py" for name in ("sort", "show")]
    for name in names:
        (tmp_path / name).touch()
    options = parse([str(tmp_path), "--save", "results.tsv", *names, "--fresh"])
    assert (options.checkout, options.paths, options.save, options.fresh) == (
        tmp_path,
        names,
        Path("results.tsv"),
        True,
    )
    assert parse([str(tmp_path), "--tier", "t1"]).paths == []
