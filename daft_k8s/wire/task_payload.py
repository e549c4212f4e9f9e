"""The form in which a task travels from the driver's seam to the worker process, and its result back.

Two byte strings: the plan, which many tasks share and which travels by content hash, and the
payload, which belongs to one task. Partitions never travel here. Daft's objects pickle themselves
(with Daft's own cloudpickle for the Python in them), so the plain pickler is enough and fast.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from daft_k8s.wire import codec
from daft_k8s.wire.code_reference import CodeReference

if TYPE_CHECKING:
    from daft.daft import Input, LocalPhysicalPlan, PyDaftExecutionConfig, RaySwordfishTask

_PICKLE_PROTOCOL = 5


class TaskPayload(NamedTuple):
    """The parts of a task that belong to it alone, besides its partitions."""

    config: PyDaftExecutionConfig
    context: dict[str, str]
    inputs: dict[int, Input]
    """Inputs that are not partitions, e.g. files to scan, by source id."""


@dataclass(frozen=True)
class TaskNeeds:
    """The things that a worker must have before it can read a task."""

    code: CodeReference | None
    """The driver's own code; None: nothing that the worker does not have."""
    extensions: tuple[str, ...]
    """Paths of Daft's native extensions that the driver has loaded."""
    folder: str | None = None
    """The folder in which relative paths start, for a worker that sees the driver's disk.

    The driver's current folder when the query began, "" if that was gone. None: the worker has a disk of its own.
    """
    search_path: tuple[str, ...] = ()
    """The driver's `sys.path`; empty: as when the session began, or the workers do not share the driver's disk."""


def encode_plan(task: RaySwordfishTask) -> bytes:
    """The plan of a task; equal plans give equal bytes."""
    return pickle.dumps(task.plan(), _PICKLE_PROTOCOL)


def encode_payload(
    task: RaySwordfishTask,
    code: CodeReference | None = None,
    extensions: Sequence[str] = (),
    folder: str | None = None,
    search_path: Sequence[str] = (),
) -> bytes:
    """Everything else of a task.

    What it needs comes first, as a message of its own: it is read before anything that may import or call that.
    """
    needs = TaskNeeds(code, tuple(extensions), folder, tuple(search_path))
    return codec.encode(needs) + pickle.dumps((task.config(), task.context(), task.inputs()), _PICKLE_PROTOCOL)


def decode_plan(plan: bytes) -> LocalPhysicalPlan:
    """The inverse of `encode_plan`, for the worker."""
    decoded: LocalPhysicalPlan = pickle.loads(plan)
    return decoded


def decode_payload(payload: bytes) -> TaskPayload:
    """The inverse of `encode_payload`, for the worker."""
    _needs, length = codec.decode_first(payload)
    return TaskPayload(*pickle.loads(memoryview(payload)[length:]))


def decode_needs(payload: bytes) -> TaskNeeds:
    """Reads the needs alone. Imports nothing of the user's."""
    needs: TaskNeeds = codec.decode(payload)
    return needs


@dataclass(frozen=True)
class FlightReference:
    """A partition that lies in the shuffle server of Daft's executor instead of in the worker's store."""

    shuffle_id: int
    server_address: str
    partition_ref_id: int
    num_rows: int
    size_bytes: int


_WITH_REFERENCES = b"\xffdaft_k8s-flight\xff"


def join_result(stats: bytes, references: Sequence[FlightReference]) -> bytes:
    """The report of a finished task besides its partitions: Daft's statistics, and references of Daft's own."""
    if not references:
        return stats
    return _WITH_REFERENCES + codec.encode((stats, list(references)))


def split_result(result: bytes) -> tuple[bytes, list[FlightReference]]:
    """The inverse of `join_result`, for the driver.

    Raises:
        MessageError: The bytes are no report of a worker of ours.
    """
    if not result.startswith(_WITH_REFERENCES):
        return result, []
    report = codec.decode(result[len(_WITH_REFERENCES) :])
    if not codec.is_of(report, tuple[bytes, list[FlightReference]]):
        raise codec.MessageError("the report of a finished task is no statistics with references")
    stats, references = report
    return stats, references
