"""Moves of written files from their staging folder to their destination, by a process that sees the disk.

With local workers that is the driver. Of Pods the workers see it, so the functions travel in a plan.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import daft

if TYPE_CHECKING:
    from daft import Series

STAGING_PREFIX = ".daft-write-"
"""Other engines skip names that begin with a dot. Daft reads them where a pattern has `**`."""

_SUCCESS_MARKER = "_SUCCESS"
_ASIDE = ".replaced"
"""The folder in the staging folder for files that are replaced, until the write is complete."""
_JOURNAL = ".moves"
"""The file in the staging folder that lists the moves; it is there while they are under way."""
_COMPLETE = "-complete"
"""The end of a staging folder's name once all moves are done."""
_CANNOT_RENAME = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
"""Another file system below the destination, or a mount of an object store: there files are copied."""


class Moves(NamedTuple):
    """The end of a write. A try that was broken off is undone by the next one, or by `remove_folders`."""

    destination: str
    """The folder that is written to."""
    staging: str
    """The name of the folder below it that holds the files."""
    files: tuple[str, ...]
    """The files to move: paths below the staging folder, and later below the destination."""
    replaces: str
    """The files that give way to the new ones, as Daft's `write_mode` says it: `append` replaces none, `overwrite` all
    below the destination, `overwrite-partitions` those below the written partitions."""
    marker: bool = False
    """True if the write ends with the file `_SUCCESS`."""
    leftovers: tuple[str, ...] = ()
    """Staging folders of earlier runs, which are removed."""

    def carry_out(self) -> None:
        """Moves replaced files aside and the new ones to their places, then removes the staging folder.

        Raises:
            OSError: If a file could not be moved. The folder is as it was before, or the error says how it is not.
        """
        remove_folders(self.leftovers)  # first, as that undoes moves of an earlier run that were broken off
        staged = os.path.join(self.destination, self.staging)
        if not os.path.isdir(staged + _COMPLETE) and not self._was_finished(staged):
            old = self._publish(staged)
        else:
            old = self._replaced()
        self._remove(old)
        for folder in (staged + _COMPLETE, staged):
            marker = os.path.join(folder, _SUCCESS_MARKER)
            if self.marker and os.path.exists(marker):
                _move(marker, self._target(_SUCCESS_MARKER))
        remove_folders((staged,))

    def _was_finished(self, staged: str) -> bool:
        """True if an earlier try has left nothing to do."""
        return not os.path.isdir(staged) and bool(self.files) and os.path.exists(self._target(self.files[0]))

    def _target(self, file: str) -> str:
        return os.path.join(self.destination, file)

    def _publish(self, staged: str) -> list[str]:
        """Returns old files that the file system could not move aside."""
        _roll_back(staged)
        os.makedirs(staged, exist_ok=True)  # no task has written anything
        old = self._replaced()
        Path(staged, _JOURNAL).write_text(json.dumps(self.files), encoding="utf-8")
        try:
            old = [path for path in old if not _set_aside(path, self.destination, staged)]
            for file in self.files:
                _move(os.path.join(staged, file), self._target(file))
            _complete(staged)
        except BaseException as error:
            _roll_back(staged)
            if isinstance(error, OSError):
                why = f"{error.strerror or error}; nothing was written to {self.destination}"
                raise OSError(error.errno, f"cannot move a file of a write to its place: {why}") from error
            raise
        return old

    def _replaced(self) -> list[str]:
        """The files that Daft's own commit would remove, without those of writes that run at the same time."""
        if self.replaces == "append":
            return []
        targets = {self._target(file) for file in self.files}
        if self.marker:
            targets.add(self._target(_SUCCESS_MARKER))
        partitions = {os.path.dirname(self._target(file)) for file in self.files}
        roots = {self.destination} if self.replaces == "overwrite" else partitions
        found: set[str] = set()
        for root in roots:
            for folder, folders, files in os.walk(root):
                folders[:] = [name for name in folders if not name.startswith(STAGING_PREFIX)]
                found.update(os.path.join(folder, file) for file in files)
        return sorted(found - targets)

    def _remove(self, paths: list[str]) -> None:
        left = []
        for path in paths:
            try:
                os.remove(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                left.append(f"{path} ({error.strerror})")
        if left:
            told = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
            raise OSError(
                errno.EIO, f"the new files are in {self.destination}, but old ones could not be removed: {told}"
            )


def remove_folders(folders: tuple[str, ...]) -> None:
    """Removes staging folders, after moves that were broken off in them are undone; any may be gone already."""
    for folder in folders:
        with contextlib.suppress(OSError):
            _roll_back(folder)
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder + _COMPLETE, ignore_errors=True)


def _complete(staged: str) -> None:
    """Notes in one step that all moves are done."""
    try:
        os.rename(staged, staged + _COMPLETE)
    except OSError as error:
        if error.errno not in _CANNOT_RENAME:
            raise
        Path(staged, _JOURNAL).unlink()


def _roll_back(staged: str) -> None:
    journal = Path(staged, _JOURNAL)
    try:
        files = json.loads(journal.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # no moves have begun
        return
    destination = os.path.dirname(staged)
    for file in files:
        source, target = os.path.join(staged, file), os.path.join(destination, file)
        if not os.path.exists(source) and os.path.exists(target):
            _move(target, source)
    aside = os.path.join(staged, _ASIDE)
    for folder, _, names in os.walk(aside):
        for name in names:
            path = os.path.join(folder, name)
            _move(path, os.path.join(destination, os.path.relpath(path, aside)))
    journal.unlink()


def _set_aside(path: str, destination: str, staged: str) -> bool:
    """Moves a file that is replaced to where it can come back from. False if the file system cannot rename it."""
    place = os.path.join(staged, _ASIDE, os.path.relpath(path, destination))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    try:
        os.rename(path, place)
    except OSError as error:
        if error.errno in _CANNOT_RENAME:
            return False
        raise
    return True


def _move(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_RENAME:
            raise
        shutil.copyfile(source, target)
        os.remove(source)


def on_worker(moves: Moves) -> daft.DataFrame:
    """A query whose only task carries out the moves."""
    return daft.from_pydict({"moves": [pickle.dumps(moves)]}).select(moved(daft.col("moves")))


def removal_on_worker(folders: tuple[str, ...]) -> daft.DataFrame:
    """A query whose only task removes folders."""
    make: Any = daft.func.batch(return_dtype=daft.DataType.bool())
    return daft.from_pydict({"folders": [pickle.dumps(folders)]}).select(make(_remove)(daft.col("folders")))


def moved(moves: daft.Expression) -> daft.Expression:
    """True for each pickled `Moves` that was carried out."""
    make: Any = daft.func.batch(return_dtype=daft.DataType.bool())
    expression: daft.Expression = make(_carry_out)(moves)
    return expression


def _carry_out(pickled: Series) -> list[bool]:
    for each in pickled.to_pylist():
        pickle.loads(each).carry_out()
    return [True] * len(pickled)


def _remove(pickled: Series) -> list[bool]:
    for each in pickled.to_pylist():
        remove_folders(pickle.loads(each))
    return [True] * len(pickled)
