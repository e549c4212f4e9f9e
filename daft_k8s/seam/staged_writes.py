"""Writes of files to a disk: staged beside their destination, and moved there when the whole query has succeeded.

Daft's tasks write straight into the destination, under random names. What a task wrote that was then lost stays there
beside the files of its next attempt, so rows come twice. Here each run of a query writes to a folder of its own below
the destination. At its end, only the files that its tasks have listed are moved; everything else goes with the folder.

Invariant: until a query has succeeded, its destination is as it was before; afterwards it holds each row once.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import shutil
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import daft
from daft.daft import WriteMode
from daft.expressions import ExpressionsProjection

from daft_k8s.path_rules import disk_path
from daft_k8s.seam.query_folders import current_folder

if TYPE_CHECKING:
    from daft.logical.builder import LogicalPlanBuilder
    from daft.recordbatch import MicroPartition


_ATTRIBUTE = "_daft_k8s_write"
_SUCCESS_MARKER = "_SUCCESS"
_PATH_COLUMN = "path"
"""The column of a write's result that lists its files."""


def install() -> None:
    """Has Daft's builder remember how a write was made, as the plan's destination cannot be changed later."""
    from daft.logical.builder import LogicalPlanBuilder

    write_tabular = LogicalPlanBuilder.write_tabular
    signature = inspect.signature(write_tabular)

    @functools.wraps(write_tabular)
    def write_and_remember(*arguments: Any, **options: Any) -> LogicalPlanBuilder:
        builder = write_tabular(*arguments, **options)
        call = signature.bind(*arguments, **options)
        call.apply_defaults()
        vars(builder)[_ATTRIBUTE] = FileWrite(call)
        return builder

    LogicalPlanBuilder.write_tabular = write_and_remember  # type: ignore[method-assign]


def find_write(builder: LogicalPlanBuilder) -> FileWrite | None:
    """The write to a disk that is the last step of a plan; None if that is something else."""
    write: FileWrite | None = vars(builder).get(_ATTRIBUTE)
    return write if write is not None and write.destination is not None else None


class FileWrite:
    """A call of Daft's builder that writes Parquet, CSV or JSON files.

    Args:
        call: The call, `LogicalPlanBuilder` included.
    """

    def __init__(self, call: inspect.BoundArguments) -> None:
        self._call = call
        self.mode: WriteMode = call.arguments["write_mode"]
        self._root = str(call.arguments["root_dir"])

    @property
    def destination(self) -> str | None:
        """The folder on a disk that is written to; None if it is in another store, or a single file."""
        aliases = getattr(self._call.arguments["io_config"], "protocol_aliases", None) or {}
        path = disk_path(self._root, aliases)
        is_opendal = self._root.lower().startswith("fs:")  # whose root folder only its own options know
        return None if is_opendal or self._call.arguments["single_file"] else path

    def below(self, folder: str) -> LogicalPlanBuilder:
        """The plan that writes, by appending, to a folder below the destination."""
        call = self._call
        staged = inspect.BoundArguments(call.signature, call.arguments.copy())
        root = self._root if self._root.endswith("/") else self._root + "/"
        staged.arguments.update(root_dir=root + folder, write_mode=WriteMode.Append)
        write_tabular = inspect.unwrap(type(call.arguments["self"]).write_tabular)
        builder: LogicalPlanBuilder = write_tabular(*staged.args, **staged.kwargs)
        return builder


class Stages:
    """The folders that runs of a session's queries write to. Thread-safe."""

    def __init__(self) -> None:
        self._left: list[str] = []

    @contextlib.contextmanager
    def begin(self, write: FileWrite) -> Iterator[Stage]:
        """Yields the place for the files of one run of a query. What was not published is removed afterwards."""
        stage = Stage(write)
        try:
            yield stage
        except BaseException:
            self._left.append(stage.folder)
            raise
        finally:
            _remove(stage.folder)
            self.remove_left()

    def remove_left(self) -> None:
        """Removes what cancelled tasks have written since: their UDFs cannot be stopped, nor writers behind them."""
        for folder in list(self._left):
            _remove(folder)


class Stage:
    """The folder that one run of a query writes to.

    Other engines skip names that begin with a dot. Daft reads them where a pattern has `**`.
    """

    def __init__(self, write: FileWrite) -> None:
        self._mode = write.mode
        self._name = f".daft-write-{uuid.uuid4().hex}"
        self._working_folder = current_folder()
        self._destination = self._absolute(write.destination or "")
        self.folder = os.path.join(self._destination, self._name)
        self.builder = write.below(self._name)

    def publish(self, listed: list[MicroPartition]) -> list[MicroPartition]:
        """Moves the listed files to the destination and removes those that an overwriting mode replaces.

        Args:
            listed: The results of the run.

        Returns:
            The results, with the paths that the files have now.

        Raises:
            OSError: If a file could not be moved. Those moved before are removed, nothing is replaced.
        """
        staged = [path for part in listed for path in part.get_column_by_name(_PATH_COLUMN).to_pylist()]
        moves = [(self._absolute(path), self._absolute(self._published(path))) for path in staged]
        replaced = self._replaced([target for _, target in moves])
        self._move(moves)
        for path in replaced:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        marker = os.path.join(self.folder, _SUCCESS_MARKER)
        if os.path.exists(marker):
            self._move([(marker, os.path.join(self._destination, _SUCCESS_MARKER))])
        return [self._renamed(part) for part in listed]

    def _absolute(self, path: str) -> str:
        return os.path.join(self._working_folder, os.path.expanduser(disk_path(path) or path))

    def _published(self, path: str) -> str:
        return path.replace(f"{self._name}/", "", 1)

    def _renamed(self, part: MicroPartition) -> MicroPartition:
        names = part.column_names()
        path = daft.col(_PATH_COLUMN).replace(daft.lit(f"{self._name}/"), daft.lit("")).alias(_PATH_COLUMN)
        return part.eval_expression_list(
            ExpressionsProjection([path if name == _PATH_COLUMN else daft.col(name) for name in names])
        )

    def _replaced(self, targets: list[str]) -> list[str]:
        """The files that go once new ones are there: as Daft does, all below the destination or written partitions."""
        if self._mode == WriteMode.Append:
            return []
        partitions = {os.path.dirname(target) for target in targets}
        roots = {self._destination} if self._mode == WriteMode.Overwrite else partitions
        found = []
        for root in roots:
            for folder, folders, files in os.walk(root):
                if self._name in folders:
                    folders.remove(self._name)
                found += [os.path.join(folder, file) for file in files]
        return found

    def _move(self, moves: list[tuple[str, str]]) -> None:
        moved: list[str] = []
        try:
            for source, target in moves:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.rename(source, target)
                moved.append(target)
        except BaseException as error:
            for target in moved:
                with contextlib.suppress(OSError):
                    os.remove(target)
            if isinstance(error, OSError):
                why = f"{error.strerror or error}; nothing was written to {self._destination}"
                raise OSError(error.errno, f"cannot move a written file to its place: {why}") from error
            raise


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
