"""The directory of a session on this machine, in which its local workers spill.

The next session of the same user removes the folder of a driver that died without cleaning up. Two conditions make a
session's directory dead: no process holds the lock of its lock file, and the process in its name (number and start
time) is gone. The kernel releases the lock at any death. The lock is right in containers that share a folder but not
process ids. The process is right between the making of the directory and of the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping

logger = logging.getLogger(__name__)

_OWNER_FILE = "owner"
_CERTIFICATES = "certificates"


class SessionDir:
    """A directory with mode 0700, locked by this process for as long as the object lives.

    Args:
        session_id: Part of the name.
        base: The folder to make it in; None: the system's folder for temporary files.
    """

    def __init__(self, session_id: str, *, base: str | None = None) -> None:
        folder = base or tempfile.gettempdir()
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, f"daft-k8s-{os.getuid()}-{os.getpid()}-{session_id}")
        os.mkdir(self.path, mode=0o700)
        self._owner_fd = os.open(os.path.join(self.path, _OWNER_FILE), os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
        os.write(self._owner_fd, (process_start_time(os.getpid()) or "").encode())
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._owner_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def worker_dir(self, worker_id: str, launch_id: int) -> str:
        """The private directory of one process; it is not made here."""
        return os.path.join(self.path, f"{worker_id}-{launch_id}")

    def keep(self, files: Mapping[str, bytes]) -> str:
        """Writes files that no other user may read; returns their folder."""
        folder = os.path.join(self.path, _CERTIFICATES)
        os.mkdir(folder, mode=0o700)
        for name, content in files.items():
            descriptor = os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        return folder

    def remove(self) -> None:
        """Removes everything. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._owner_fd >= 0:
            os.close(self._owner_fd)
            self._owner_fd = -1


def sweep_dead_sessions(base: str | None = None) -> list[str]:
    """Removes the directories of this user's sessions whose processes are gone; returns their paths."""
    folder = base or tempfile.gettempdir()
    own = re.compile(rf"daft-k8s-{os.getuid()}-(\d+)-[^/]+")
    removed: list[str] = []
    try:
        names = os.listdir(folder)
    except OSError:
        return removed
    for name in names:
        match = own.fullmatch(name)
        path = os.path.join(folder, name)
        if match is None or not _is_own_directory(path) or not _is_dead(path, int(match[1])):
            continue
        shutil.rmtree(path, ignore_errors=True)
        logger.info("removed %s, left behind by a process that is gone", path)
        removed.append(path)
    return removed


def _is_own_directory(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _is_dead(path: str, pid: int) -> bool:
    recorded = ""
    try:
        fd = os.open(os.path.join(path, _OWNER_FILE), os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    else:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            recorded = os.read(fd, 256).decode(errors="replace")
        except OSError:
            return False  # its owner holds the lock
        finally:
            os.close(fd)
    started = process_start_time(pid)
    return started is None or (recorded != "" and recorded != started)


def process_start_time(pid: int) -> str | None:
    """When a process began, in the system's own notation; None: there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]  # field 22; names may hold blanks and brackets
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return None
    except OSError:
        return None
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None
