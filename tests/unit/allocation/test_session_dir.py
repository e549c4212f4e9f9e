"""The session's directory, and which ones a sweep removes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from daft_k8s.allocation.session_dir import SessionDir, process_start_time, sweep_dead_sessions

ROOT = Path(__file__).parents[3]


def leave_behind(folder: Path, pid: int, *, started: str | None) -> Path:
    path = folder / f"daft-k8s-{os.getuid()}-{pid}-old"
    (path / "worker-0-1").mkdir(parents=True)
    (path / "worker-0-1" / "spilled").write_text("rows")
    if started is not None:
        (path / "owner").write_text(started)
    return path


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_it_is_private_and_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    directory = SessionDir("s", base=str(tmp_path))
    assert stat.S_IMODE(os.stat(directory.path).st_mode) == 0o700
    Path(directory.worker_dir("worker-0", 1)).mkdir()
    directory.remove()
    directory.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_sweep_removes_what_a_dead_process_left(tmp_path: Path) -> None:
    path = leave_behind(tmp_path, dead_pid(), started="12345")
    assert sweep_dead_sessions(str(tmp_path)) == [str(path)]
    assert list(tmp_path.iterdir()) == []


def test_the_sweep_removes_the_directory_of_a_process_whose_number_was_used_again(tmp_path: Path) -> None:
    path = leave_behind(tmp_path, os.getpid(), started="1")
    assert sweep_dead_sessions(str(tmp_path)) == [str(path)]


def test_the_sweep_leaves_live_sessions_alone(tmp_path: Path) -> None:
    directory = SessionDir("s", base=str(tmp_path))
    assert sweep_dead_sessions(str(tmp_path)) == []
    assert os.path.isdir(directory.path)
    directory.remove()


def test_the_sweep_trusts_the_lock_where_process_numbers_are_not_shared(tmp_path: Path) -> None:
    directory = SessionDir("s", base=str(tmp_path))
    elsewhere = tmp_path / f"daft-k8s-{os.getuid()}-{dead_pid()}-s"
    os.rename(directory.path, elsewhere)
    assert sweep_dead_sessions(str(tmp_path)) == []
    assert elsewhere.is_dir()
    directory.remove()


def test_the_sweep_removes_the_directory_of_a_session_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom daft_k8s.allocation.session_dir import SessionDir\n"
        f"directory = SessionDir('s', base={str(tmp_path)!r})\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=30, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert len(sweep_dead_sessions(str(tmp_path))) == 1


def test_a_directory_that_is_just_being_made_is_left_alone(tmp_path: Path) -> None:
    path = leave_behind(tmp_path, os.getpid(), started=None)
    assert sweep_dead_sessions(str(tmp_path)) == []
    assert path.is_dir()


def test_the_sweep_touches_nothing_else(tmp_path: Path) -> None:
    pid = dead_pid()
    (tmp_path / f"daft-k8s-{os.getuid() + 1}-{pid}-other").mkdir()
    (tmp_path / "daft-k8s-notes").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / f"daft-k8s-{os.getuid()}-{pid}-link").symlink_to(tmp_path / "target")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert sweep_dead_sessions(str(tmp_path)) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_start_time_of_a_process_is_stable_and_none_for_a_dead_one() -> None:
    assert process_start_time(os.getpid()) == process_start_time(os.getpid()) is not None
    assert process_start_time(dead_pid()) is None
