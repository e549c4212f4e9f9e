"""The driver's code reaches workers that do not have it, over the driver's own connection.

Local workers can see the driver's files, so the code is given as an archive, which they cannot use where it is.
Not covered: Pods (tests/integration), which files are chosen (tests/unit/code).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.local.driver_process import run

OPTIONS = 'num_workers=2, worker_cpu=1, worker_memory="512Mi"'


def pack(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/") + ".py", content)
        archive.writestr("table.txt", "41")
    return path


def test_a_udf_imports_a_module_and_reads_a_file_that_only_the_driver_has(tmp_path: Path) -> None:
    code = pack(tmp_path / "code.zip", only_here="from pkg.inner import ADD\n", pkg__inner="ADD = 1\n")
    ended = run(
        f"""
        import daft, daft_k8s

        daft_k8s.set_runner_k8s({OPTIONS}, working_dir={str(code)!r}, log_level="INFO")

        @daft.func
        def answer(x: int) -> int:
            import only_here, os
            return int(open(os.path.join(os.environ["DAFT_WORKING_DIR"], "table.txt")).read()) + only_here.ADD + x

        df = daft.from_pydict({{"x": [0, 0, 1, 1]}}).into_partitions(4)
        for _ in range(2):
            print(sorted(df.select(answer(df["x"])).to_pydict()["x"]))
        """
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["[42, 42, 43, 43]"] * 2
    fetches = [line for line in ended.stderr.splitlines() if "uses the driver's code of" in line]
    assert 1 <= len(fetches) <= 2, ended.stderr  # at most once on each worker, although there were many tasks
    assert all(str(code) in line and "3 files" in line and "fetched" in line for line in fetches)


def test_what_changes_in_the_working_dir_does_not_reach_an_open_session(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "table.txt").write_text("41")
    (folder / "late.py").write_text("ADD = 1\n")
    (folder / ".gitignore").write_text("private.txt\n")
    (folder / "private.txt").write_text("not shipped")
    ended = run(
        f"""
        import os
        import daft, daft_k8s

        daft_k8s.set_runner_k8s({OPTIONS}, working_dir={str(folder)!r})

        @daft.func
        def read(x: int) -> int:
            assert not os.path.exists(os.path.join(os.environ["DAFT_WORKING_DIR"], "private.txt"))
            return int(open(os.path.join(os.environ["DAFT_WORKING_DIR"], "table.txt")).read()) + x

        @daft.func
        def late(x: int) -> int:
            import late
            return late.ADD

        df = daft.from_pydict({{"x": [0, 0, 1, 1]}}).into_partitions(4)
        print(sorted(df.select(read(df["x"])).to_pydict()["x"]))
        for name, content in (("table.txt", "0"), ("late.py", "ADD = 2")):
            with open(os.path.join({str(folder)!r}, name), "w") as file:
                file.write(content)
        print(sorted(df.select(read(df["x"])).to_pydict()["x"]), set(df.select(late(df["x"])).to_pydict()["x"]))
        """
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["[41, 41, 42, 42]", "[41, 41, 42, 42] {1}"]


def test_a_missing_module_is_named_with_the_ways_to_ship_it(tmp_path: Path) -> None:
    ended = run(
        f"""
        import daft, daft_k8s

        daft_k8s.set_runner_k8s({OPTIONS})

        @daft.func
        def answer(x: int) -> int:
            import no_such_module_anywhere
            return x

        df = daft.from_pydict({{"x": [0]}})
        try:
            df.select(answer(df["x"])).to_pydict()
        except Exception as error:
            print(*getattr(error, "__notes__", ()))
        """
    )
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout + ended.stderr  # Python 3.10 has no notes; there it is logged
    for part in ("'no_such_module_anywhere' is missing on worker-", "working_dir", "pip=", "set image"):
        assert part in told


def test_an_object_that_cannot_be_pickled_is_an_error_of_the_driver(tmp_path: Path) -> None:
    ended = run(
        f"""
        import threading
        import daft, daft_k8s

        daft_k8s.set_runner_k8s({OPTIONS})
        lock = threading.Lock()
        try:
            @daft.func
            def answer(x: int) -> int:
                with lock:
                    return x

            daft.from_pydict({{"x": [0]}}).select(answer(daft.col("x"))).to_pydict()
        except Exception as error:
            print(type(error).__name__, error, repr(error.__cause__))
        """
    )
    assert ended.returncode == 0, ended.stderr
    assert "must be serializable" in ended.stdout and "_thread.lock" in ended.stdout


def test_an_object_in_the_plan_that_cannot_be_pickled_is_named_with_what_to_do() -> None:
    ended = run(
        f"""
        import daft, daft_k8s

        daft_k8s.set_runner_k8s({OPTIONS})

        class Connection:
            def __reduce__(self):
                raise RuntimeError("a connection stays where it is")

        try:
            daft.from_pydict({{"x": [0]}}).with_column("y", daft.lit(Connection())).collect()
        except Exception as error:
            print(type(error).__name__, error)
        """
    )
    assert ended.returncode == 0, ended.stderr
    for part in ("CodeError the task ", "cannot be pickled", "a connection stays where it is", "@daft.cls"):
        assert part in ended.stdout


def test_a_shipped_module_that_cannot_be_imported_fails_with_its_own_error(tmp_path: Path) -> None:
    code = pack(tmp_path / "code.zip", broken="from math import no_such_name\n")
    ended = run(
        f"""
        import daft, daft_k8s

        daft_k8s.set_runner_k8s({OPTIONS}, working_dir={str(code)!r})

        @daft.func
        def answer(x: int) -> int:
            import broken
            return x

        df = daft.from_pydict({{"x": [0]}})
        try:
            df.select(answer(df["x"])).to_pydict()
        except Exception as error:
            print(error, *getattr(error, "__notes__", ()))
        """
    )
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout + ended.stderr  # Python 3.10 has no notes; there it is logged
    for part in ("ImportError: cannot import name 'no_such_name' from 'math'", "on worker-"):
        assert part in told
    assert "is missing on" not in told  # the module is there: shipping it would not help


def test_what_pip_cannot_install_fails_the_query_with_pips_own_line() -> None:
    ended = run(
        f"""
        import daft, daft_k8s

        daft_k8s.set_runner_k8s({OPTIONS}, pip=["/no/such/package"])
        try:
            daft.range(4, partitions=2).collect()
        except Exception as error:
            print(type(error).__name__, error)
        """
    )
    assert ended.returncode == 0, ended.stderr
    for part in ("WorkerStartError", "pip install /no/such/package failed on the worker: ERROR: Invalid requirement",
                 "correct the option pip", "PIP_INDEX_URL"):  # fmt: skip
        assert part in ended.stdout


def test_a_link_that_leads_out_of_the_working_dir_starts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("not yours")
    (folder / "table.txt").symlink_to(tmp_path / "secret.txt")
    ended = run(
        f"""
        import daft_k8s

        try:
            daft_k8s.set_runner_k8s({OPTIONS}, working_dir={str(folder)!r})
        except Exception as error:
            print(type(error).__name__, error)
        """
    )
    assert ended.returncode == 0, ended.stderr
    for part in ("CodeError", "table.txt is a link to", "which is outside of", "daftignore"):
        assert part in ended.stdout, ended.stdout


def test_code_above_the_limit_starts_nothing(tmp_path: Path) -> None:
    code = pack(tmp_path / "code.zip", large="#" * 4096)
    ended = run(
        f"""
        import daft_k8s

        try:
            daft_k8s.set_runner_k8s({OPTIONS}, working_dir={str(code)!r}, code_size_limit="2Ki")
        except Exception as error:
            print(type(error).__name__, error)
        """
    )
    assert ended.returncode == 0, ended.stderr
    assert "CodeError" in ended.stdout and "code_size_limit" in ended.stdout
