"""The form in which a task travels: a contract between the driver's seam and the worker process.

Two byte strings: the plan, which many tasks share and which travels by content hash, and the
payload, which belongs to one task. Partitions never travel here. Daft's objects pickle themselves
(with Daft's own cloudpickle for the Python in them), so the plain pickler is enough and fast.
"""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from daft_k8s.code.reference import CodeReference
from daft_k8s.errors import TaskError
from daft_k8s.raised import causes_of, headline

if TYPE_CHECKING:
    from daft.daft import Input, LocalPhysicalPlan, PyDaftExecutionConfig, RaySwordfishTask

_PICKLE_PROTOCOL = 5

MOST_ERROR_BYTES = 1 << 20
"""A larger exception travels as its text: it carries data, for which the reports of tasks are not made."""


class TaskPayload(NamedTuple):
    """What a task needs besides its plan and its partitions."""

    config: PyDaftExecutionConfig
    context: dict[str, str]
    inputs: dict[int, Input]
    """Inputs that are not partitions, e.g. files to scan, by source id."""


class TaskNeeds(NamedTuple):
    """What a worker must have before it can read a task."""

    code: CodeReference | None
    """The driver's own code; None: nothing that the worker does not have."""
    extensions: list[str]
    """Paths of Daft's native extensions that the driver has loaded."""
    folder: str | None = None
    """The folder in which relative paths start, for a worker that sees the driver's disk.

    The driver's current folder when the query began, "" if that was gone. None: the worker has a disk of its own.
    """
    search_path: Sequence[str] = ()
    """The driver's `sys.path`; empty: as when the session began, or the workers do not share the driver's disk."""


def encode_task(task: RaySwordfishTask) -> tuple[bytes, bytes]:
    """Encodes a task of Daft's scheduler.

    Returns:
        The plan (equal plans give equal bytes) and the payload.
    """
    return encode_plan(task), encode_payload(task)


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

    What it needs comes first, as a pickle of its own: it is read before anything that may import or call that.
    """
    needs = (None if code is None else tuple(code), list(extensions), folder, tuple(search_path))
    return pickle.dumps(needs, _PICKLE_PROTOCOL) + pickle.dumps(
        (task.config(), task.context(), task.inputs()), _PICKLE_PROTOCOL
    )


def decode_plan(plan: bytes) -> LocalPhysicalPlan:
    """The inverse of `encode_plan`, for the worker."""
    decoded: LocalPhysicalPlan = pickle.loads(plan)
    return decoded


def decode_payload(payload: bytes) -> TaskPayload:
    """The inverse of `encode_payload`, for the worker."""
    stream = io.BytesIO(payload)
    pickle.load(stream)
    return TaskPayload(*pickle.load(stream))


def decode_needs(payload: bytes) -> TaskNeeds:
    """What a worker must have before it decodes the rest. Imports nothing of the user's."""
    code, extensions, folder, search_path = pickle.loads(payload)  # up to the end of the first pickle
    return TaskNeeds(None if code is None else CodeReference(*code), extensions, folder, search_path)


class FlightReference(NamedTuple):
    """A partition that lies in the shuffle server of Daft's executor instead of in the worker's store."""

    shuffle_id: int
    server_address: str
    partition_ref_id: int
    num_rows: int
    size_bytes: int


_WITH_REFERENCES = b"\xffdaft_k8s-flight\xff"


def join_result(stats: bytes, references: Sequence[FlightReference]) -> bytes:
    """What a finished task reports besides its partitions: Daft's statistics, and references of Daft's own."""
    if not references:
        return stats
    return _WITH_REFERENCES + pickle.dumps((stats, [tuple(reference) for reference in references]), _PICKLE_PROTOCOL)


def split_result(result: bytes) -> tuple[bytes, list[FlightReference]]:
    """The inverse of `join_result`, for the driver."""
    if not result.startswith(_WITH_REFERENCES):
        return result, []
    stats, references = pickle.loads(result[len(_WITH_REFERENCES) :])
    return stats, [FlightReference(*reference) for reference in references]


def encode_error(error: BaseException) -> bytes:
    """Encodes what a task raised, so that unpickling gives the exception itself, cause included.

    An exception that does not survive pickling (many do pickle, but not back) becomes a `TaskError`
    with its type and text; so does each link in its chain of causes. Never raises.
    """
    from daft.pickle import dumps

    try:
        chain = [portable(link) for link in causes_of(error)]
        encoded: bytes = dumps(chain[0]) if len(chain) == 1 else dumps(_Chain(chain))
        if len(encoded) <= MOST_ERROR_BYTES:
            return encoded
    except BaseException:
        pass  # it pickles otherwise than a moment ago
    told: bytes = dumps(_told(error))
    return told


def decode_error(error: bytes, message: str) -> BaseException:
    """The inverse of `encode_error`; a `TaskError` with `message` if there is nothing to decode. Never raises."""
    if not error:
        return TaskError(message)
    from daft.pickle import loads

    try:
        decoded: Any = loads(error)
    except BaseException:  # what a user's `__setstate__` raises here, SystemExit among it
        return TaskError(message)
    return decoded if issubclass(type(decoded), BaseException) else TaskError(message)


class _Chain:
    """Pickles exceptions with their causes, which pickle itself would drop; unpickles as the first one."""

    def __init__(self, links: list[BaseException]) -> None:
        self.links = links

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_chain, (self.links,)


def _rebuild_chain(links: list[BaseException]) -> BaseException:
    for error, cause in itertools.pairwise(links):
        error.__cause__ = cause
    return links[0]


def portable(error: BaseException) -> BaseException:
    """The exception itself if it can be pickled and unpickled, else a `TaskError` with its type and text."""
    from daft.pickle import dumps, loads

    try:
        if type(loads(dumps(error))).__qualname__ == type(error).__qualname__:
            return error
    except BaseException:
        pass  # whatever a foreign __reduce__ or __init__ raises: the text below is what can be carried
    return _told(error)


def _told(error: BaseException) -> TaskError:
    return TaskError(headline(error, qualified=True))
