"""Moves of written files from their staging folder to their destination, by a process that sees the disk.

With local workers that is the driver. Of Pods the workers see it, so the functions travel in a plan.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import daft

if TYPE_CHECKING:
    from daft import Series

_SUCCESS_MARKER = "_SUCCESS"


class Moves(NamedTuple):
    """The end of a write. May be carried out again after it was broken off."""

    destination: str
    """The folder that is written to."""
    staging: str
    """The name of the folder below it that holds the files."""
    files: tuple[str, ...]
    """Those to move: their paths below the staging folder, and later below the destination."""
    replaces: str
    """The files that go once the new ones are there, as Daft's `write_mode` says it: `append` replaces none,
    `overwrite` all below the destination, `overwrite-partitions` those below the written partitions."""
    leftovers: tuple[str, ...] = ()
    """Staging folders of earlier runs, which are removed."""

    def carry_out(self) -> None:
        """Moves the files, removes those that are replaced, then the staging folders.

        Raises:
            OSError: If a file could not be moved. Those moved before are removed, nothing is replaced.
        """
        staged = os.path.join(self.destination, self.staging)
        moves = [(os.path.join(staged, file), os.path.join(self.destination, file)) for file in self.files]
        replaced = self._replaced({target for _, target in moves})
        self._move(moves)
        for path in replaced:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        marker = os.path.join(staged, _SUCCESS_MARKER)
        if os.path.exists(marker):
            self._move([(marker, os.path.join(self.destination, _SUCCESS_MARKER))])
        remove_folders((staged, *self.leftovers))

    def _replaced(self, targets: set[str]) -> list[str]:
        """The files that are replaced: those that Daft's own commit would remove."""
        if self.replaces == "append":
            return []
        partitions = {os.path.dirname(target) for target in targets}
        roots = {self.destination} if self.replaces == "overwrite" else partitions
        found: set[str] = set()
        for root in roots:
            for folder, folders, files in os.walk(root):
                if self.staging in folders:
                    folders.remove(self.staging)
                found.update(os.path.join(folder, file) for file in files)
        return sorted(found - targets)

    def _move(self, moves: list[tuple[str, str]]) -> None:
        moved: list[str] = []
        try:
            for source, target in moves:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                try:
                    os.rename(source, target)
                except FileNotFoundError:
                    if not os.path.exists(target):  # an earlier try has not moved it either
                        raise
                moved.append(target)
        except BaseException as error:
            for target in moved:
                with contextlib.suppress(OSError):
                    os.remove(target)
            if isinstance(error, OSError):
                why = f"{error.strerror or error}; nothing was written to {self.destination}"
                raise OSError(error.errno, f"cannot move a written file to its place: {why}") from error
            raise


def remove_folders(folders: tuple[str, ...]) -> None:
    """Removes folders with all that is in them; those that are gone already are fine."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def on_worker(moves: Moves) -> daft.DataFrame:
    """A query whose only task carries out the moves."""
    make: Any = daft.func.batch(return_dtype=daft.DataType.bool())
    return daft.from_pydict({"moves": [pickle.dumps(moves)]}).select(make(_carry_out)(daft.col("moves")))


def removal_on_worker(folders: tuple[str, ...]) -> daft.DataFrame:
    """A query whose only task removes folders."""
    make: Any = daft.func.batch(return_dtype=daft.DataType.bool())
    return daft.from_pydict({"folders": [pickle.dumps(folders)]}).select(make(_remove)(daft.col("folders")))


def _carry_out(pickled: Series) -> list[bool]:
    for each in pickled.to_pylist():
        pickle.loads(each).carry_out()
    return [True] * len(pickled)


def _remove(pickled: Series) -> list[bool]:
    for each in pickled.to_pylist():
        remove_folders(pickle.loads(each))
    return [True] * len(pickled)
