"""The directory in which one worker process spills, and what is left of the session's when the driver died."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import time

from daft_k8s.errors import WorkerStartError

OWNER_FILE = "owner"
"""The driver holds a lock on this file of the session's directory for as long as it lives."""
CERTIFICATES = "certificates"
"""The driver keeps the keys of its session's workers in this folder of the session's directory."""

_DYING_SECONDS = 3.0
"""A process that is being killed closes its files one by one: its pipe may be closed while it still holds the lock."""


def make_private_directory(path: str) -> None:
    """Makes a directory that only this user can enter, and empties it if it is there.

    Where containers restart in place, it may hold what a process spilled that was killed.

    Raises:
        WorkerStartError: The directory cannot be made, or belongs to another user.
    """
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode=0o700)
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise WorkerStartError(f"the spill directory {path} is not a directory of this user")
        os.chmod(path, 0o700)
        for entry in list(os.scandir(path)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
    except OSError as error:
        raise WorkerStartError(f"the spill directory {path} cannot be made: {error}") from error


def remove_private_directory(path: str, session_dir: str = "", *, owner_is_gone: bool = False) -> None:
    """Removes the directory and all in it, and the session's if the driver is dead and no other process uses it.

    A driver that was killed cannot remove anything, so its last worker does. A process that removes its own directory
    last sees none but the driver's files, however many workers end at the same time.

    Args:
        path: The process's own directory.
        session_dir: The directory around it that the driver made; "": it made none.
        owner_is_gone: The driver is known to be dead, or about to be: its lock is waited for.
    """
    shutil.rmtree(path, ignore_errors=True)
    if not session_dir:
        return
    owner = os.path.join(session_dir, OWNER_FILE)
    with contextlib.suppress(OSError):
        try:
            if not _is_unlocked(owner, _DYING_SECONDS if owner_is_gone else 0.0):
                return
            if not set(os.listdir(session_dir)) <= {OWNER_FILE, CERTIFICATES}:
                return
            shutil.rmtree(os.path.join(session_dir, CERTIFICATES), ignore_errors=True)
            os.unlink(owner)
        except FileNotFoundError:
            pass  # another worker was faster
        os.rmdir(session_dir)  # nothing is lost: it only removes what is empty


def _is_unlocked(owner: str, patience_seconds: float) -> bool:
    end = time.monotonic() + patience_seconds
    fd = os.open(owner, os.O_RDWR | os.O_NOFOLLOW)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    return False
                time.sleep(0.02)
            else:
                return True
    finally:
        os.close(fd)
