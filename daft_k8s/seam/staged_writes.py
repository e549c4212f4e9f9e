"""Writes of files to a disk: staged below their destination, and moved there when the whole query has succeeded.

Daft's tasks write straight into the destination, under random names. What a task wrote that was then lost stays there
beside the files of its next attempt, so rows come twice. Here each run of a query writes to a folder of its own below
the destination. At its end, only the files that its tasks have listed are moved; everything else goes with the folder.

Invariant: until a query has succeeded, its destination is as it was before; afterwards it holds each row once.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import daft
from daft.daft import WriteMode
from daft.errors import UDFException
from daft.expressions import ExpressionsProjection

from daft_k8s.errors import DaftK8sError
from daft_k8s.handles.file_moves import STAGING_PREFIX, Moves, on_worker, removal_on_worker, remove_folders
from daft_k8s.path_rules import disk_path
from daft_k8s.seam.query_folders import current_folder

if TYPE_CHECKING:
    from daft.logical.builder import LogicalPlanBuilder
    from daft.recordbatch import MicroPartition

logger = logging.getLogger("daft_k8s")

_ATTRIBUTE = "_daft_k8s_write"
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
        self._root = str(call.arguments["root_dir"])

    @property
    def destination(self) -> str | None:
        """The folder on a disk that is written to; None if it is in another store, or a single file."""
        aliases = getattr(self._call.arguments["io_config"], "protocol_aliases", None) or {}
        path = disk_path(self._root, aliases)
        is_opendal = self._root.lower().startswith("fs:")  # whose root folder only its own options know
        # Daft's result would have two columns of one name.
        is_ambiguous = any(column.name() == _PATH_COLUMN for column in self._call.arguments["partition_cols"] or ())
        is_single = self._call.arguments.get("single_file", False)
        return None if is_opendal or is_ambiguous or is_single else path

    @property
    def replaces(self) -> str:
        """The write mode, in Daft's words for it."""
        mode: WriteMode = self._call.arguments["write_mode"]
        if mode == WriteMode.Append:
            return "append"
        return "overwrite" if mode == WriteMode.Overwrite else "overwrite-partitions"

    @property
    def marker(self) -> bool:
        """True if the write ends with the file `_SUCCESS`."""
        return bool(self._call.arguments.get("write_success_file", False))

    def below(self, folder: str) -> LogicalPlanBuilder:
        """The plan that writes, by appending, to a folder below the destination."""
        call = self._call
        staged = inspect.BoundArguments(call.signature, call.arguments.copy())
        root = self._root if self._root.endswith("/") else self._root + "/"
        staged.arguments.update(root_dir=root + folder, write_mode=WriteMode.Append)
        write_tabular = inspect.unwrap(type(call.arguments["self"]).write_tabular)
        builder: LogicalPlanBuilder = write_tabular(*staged.args, **staged.kwargs)
        return builder


class Disk(Protocol):
    """The way to the disk that tasks write to."""

    def carry_out(self, moves: Moves) -> None:
        """Publishes the files of a run."""

    def clean_up(self, folders: tuple[str, ...], error: BaseException, *, is_publishing: bool) -> None:
        """Removes the staging folders of failed runs.

        Args:
            folders: The folders, that of the last run at the end.
            error: The error of the last run.
            is_publishing: True if it came while the files were moved.
        """


class OwnDisk:
    """The disk of this machine, which local workers write to."""

    def carry_out(self, moves: Moves) -> None:
        moves.carry_out()

    def clean_up(self, folders: tuple[str, ...], error: BaseException, *, is_publishing: bool) -> None:
        remove_folders(folders)


class WorkersDisk:
    """A volume of worker Pods, which the driver perhaps does not see.

    Args:
        run: Runs a query to its end.
    """

    def __init__(self, run: Callable[[LogicalPlanBuilder], object]) -> None:
        self._run = run

    def carry_out(self, moves: Moves) -> None:
        try:
            self._run(on_worker(moves)._builder)
        except UDFException as error:
            raise error.original_exception or error from error

    def clean_up(self, folders: tuple[str, ...], error: BaseException, *, is_publishing: bool) -> None:
        # An interrupt is not kept waiting; and a query would wait for workers where there are none any more.
        if isinstance(error, Exception) and not isinstance(error, DaftK8sError):
            with contextlib.suppress(Exception):
                self._run(removal_on_worker(folders)._builder)
                return
        if is_publishing:  # a task that was sent goes on after its query was cancelled
            logger.warning(
                "a write was broken off while its files were moved out of %s; see where they are", folders[-1]
            )
        else:
            logger.warning("a run of a write failed; %s is left until the session's next write", folders[-1])


class Stages:
    """The folders that runs of a session's queries write to. Thread-safe."""

    def __init__(self) -> None:
        self._left: deque[str] = deque(maxlen=1000)  # of a session with so many failed writes, the newest

    @contextlib.contextmanager
    def begin(self, write: FileWrite, disk: Disk) -> Iterator[StagedWrite]:
        """Yields the place for the files of one run of a query. What was not published is removed afterwards."""
        stage = StagedWrite(write, disk, self.left)
        try:
            yield stage
        except BaseException as error:
            self._left.append(stage.folder)
            disk.clean_up(self.left(), error, is_publishing=stage.is_publishing)
            raise

    def left(self) -> tuple[str, ...]:
        """Folders of runs that failed. Cancelled tasks may write there later: neither UDFs nor writers are stopped."""
        return tuple(self._left)

    def remove_left(self) -> None:
        """Removes what was written to this machine's disk since, once the workers have ended."""
        remove_folders(self.left())


class StagedWrite:
    """The folder that one run of a query writes to."""

    def __init__(self, write: FileWrite, disk: Disk, left: Callable[[], tuple[str, ...]]) -> None:
        self._write = write
        self._disk = disk
        self._left = left
        self._name = STAGING_PREFIX + uuid.uuid4().hex
        destination = os.path.expanduser(write.destination or "")
        self._destination = os.path.join(current_folder(), destination)
        self.folder = os.path.join(self._destination, self._name)
        self.builder = write.below(self._name)
        self.is_publishing = False

    def publish(self, listed: list[MicroPartition]) -> list[MicroPartition]:
        """Moves the listed files to the destination and removes those that an overwriting mode replaces.

        Args:
            listed: The results of the run.

        Returns:
            The results, with the paths that the files have now.

        Raises:
            OSError: If a file could not be moved.
        """
        prefix = f"{self._name}/"
        paths = [path for part in listed for path in part.get_column_by_name(_PATH_COLUMN).to_pylist()]
        files = tuple(path.partition(prefix)[2] for path in paths)
        self.is_publishing = True
        self._disk.carry_out(
            Moves(self._destination, self._name, files, self._write.replaces, self._write.marker, self._left())
        )
        return [_without(prefix, part) for part in listed]


def _without(prefix: str, part: MicroPartition) -> MicroPartition:
    """A write's result with paths that lack the staging folder."""
    path = daft.col(_PATH_COLUMN).replace(daft.lit(prefix), daft.lit("")).alias(_PATH_COLUMN)
    columns = [path if name == _PATH_COLUMN else daft.col(name) for name in part.column_names()]
    return part.eval_expression_list(ExpressionsProjection(columns))
