"""The decision if a file that merely lies in the current folder may say how workers run.

Such a file can set LD_PRELOAD or PYTHONPATH of the workers: who may write it runs code as the user.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_ROOT = 0
_IN_POD = "KUBERNETES_SERVICE_HOST"
"""Set in every container of a Pod, where the root file system is the image, and a random user may run its files."""


@dataclass(frozen=True)
class Reader:
    """The process that reads the file."""

    uid: int
    private_groups: Collection[int] = ()
    """Groups to which no other user belongs."""
    image_device: int | None = None
    """In a Pod the device of the root file system: what lies there came with the image."""


@dataclass(frozen=True)
class FileFacts:
    """A file or a folder as it was found."""

    what: str
    """For people: "the file /tmp/a"."""
    mode: int
    uid: int
    gid: int
    device: int = 0
    read_only: bool = False
    """True if the file system is mounted so, as those of ConfigMaps are: the mode may then allow what fails."""

    @classmethod
    def at(cls, what: str, place: Path | int) -> FileFacts:
        """Looks at a path or an open file.

        Raises:
            OSError: Nothing is there, or it may not be seen.
        """
        found, system = os.stat(place), os.statvfs(place)
        read_only = bool(system.f_flag & os.ST_RDONLY)
        return cls(what, found.st_mode, found.st_uid, found.st_gid, found.st_dev, read_only)


def why_untrusted(path: Path, opened: IO[bytes], environ: Mapping[str, str]) -> str:
    """The reason why another user may have written a file, or put it there; "" if none may.

    Args:
        path: The file; a link leads through two folders.
        opened: The file itself, so that it is the one that was looked at.
        environ: Environment variables.

    Raises:
        OSError: A folder may not be seen.
    """
    groups = {os.getegid(), *os.getgroups()}
    image_device = os.stat("/").st_dev if _IN_POD in environ else None
    reader = Reader(os.geteuid(), frozenset(filter(_is_private, groups)), image_device)
    found = [FileFacts.at(f"the file {path}", opened.fileno())]
    for folder in dict.fromkeys((path.parent, Path(os.path.realpath(path)).parent)):
        found.append(FileFacts.at(f"the folder {folder}", folder))
    return next((why for seen in found if (why := objection(seen, reader))), "")


def objection(seen: FileFacts, reader: Reader) -> str:
    """The reason why another user may have written a file or folder; "" if none may."""
    if seen.device == reader.image_device:
        return ""
    if seen.uid not in (_ROOT, reader.uid):
        return f"{seen.what} belongs to another user (uid {seen.uid})"
    if seen.read_only or (stat.S_ISDIR(seen.mode) and seen.mode & stat.S_ISVTX):
        return ""  # in a sticky folder others may add files, but not replace one that is not theirs
    if seen.mode & stat.S_IWOTH:
        return f"every user may write to {seen.what}"
    if seen.mode & stat.S_IWGRP and seen.gid not in (_ROOT, *reader.private_groups):
        return f"the users of a group (gid {seen.gid}) may write to {seen.what}"
    return ""


def _is_private(gid: int) -> bool:
    """True for a user's own group, and for one without a name, which containers alone have (`fsGroup`)."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return True
    return group.gr_name == user and set(group.gr_mem) <= {user}
