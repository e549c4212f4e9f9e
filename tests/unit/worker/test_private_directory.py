"""What a worker removes when it ends: its own directory, and as the last one of a dead driver the session's too."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from daft_k8s.allocation.session_dir import SessionDir
from daft_k8s.worker.private_directory import OWNER_FILE, make_private_directory, remove_private_directory


@pytest.fixture
def session(tmp_path: Path) -> SessionDir:
    return SessionDir("session-1", base=str(tmp_path))


def start(session: SessionDir, worker_id: str) -> str:
    path = session.worker_dir(worker_id, 1)
    make_private_directory(path)
    Path(path, "0.arrows").write_text("spilled")
    return path


def kill_driver(session: SessionDir) -> None:
    # What the end of its process does: the lock goes, the files stay.
    os.close(session._owner_fd)
    session._owner_fd = -1


def test_what_a_killed_predecessor_spilled_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "worker-0"
    (path / "folder").mkdir(parents=True)
    (path / "folder" / "0.arrows").write_text("spilled")
    (path / "1.arrows").symlink_to(tmp_path)
    make_private_directory(str(path))
    assert list(path.iterdir()) == []
    assert tmp_path.is_dir()


def test_the_directory_of_a_living_driver_stays(session: SessionDir) -> None:
    remove_private_directory(start(session, "worker-0"), session.path)
    assert [path.name for path in Path(session.path).iterdir()] == [OWNER_FILE]


def test_the_last_worker_of_a_dead_driver_removes_its_directory(session: SessionDir, tmp_path: Path) -> None:
    first, last = start(session, "worker-0"), start(session, "worker-1")
    kill_driver(session)
    remove_private_directory(first, session.path)
    assert sorted(path.name for path in Path(session.path).iterdir()) == [OWNER_FILE, "worker-1-1"]
    remove_private_directory(last, session.path)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_starts_after_the_directory_has_gone_removes_what_it_has_made(
    session: SessionDir, tmp_path: Path
) -> None:
    first = start(session, "worker-0")
    kill_driver(session)
    remove_private_directory(first, session.path)
    remove_private_directory(start(session, "worker-1"), session.path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_around_a_directory_is_touched_where_no_session_directory_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "volume" / "worker-0")
    make_private_directory(path)
    remove_private_directory(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["volume"]


def test_the_lock_of_a_driver_that_is_still_dying_is_waited_for(session: SessionDir) -> None:
    worker = start(session, "worker-0")
    dying = threading.Timer(0.1, kill_driver, [session])
    dying.start()
    remove_private_directory(worker, session.path, owner_is_gone=True)
    dying.join()
    assert not Path(session.path).exists()
