"""The handle of a submitted task for Daft's scheduler, and the conversion of outcomes to Daft's results."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import linecache
import logging
import re
import sys
from typing import TYPE_CHECKING, Protocol

from daft.daft import FlightPartitionRef, RayPartitionRef, RayTaskResult

from daft_k8s.errors import Loss, TaskError, WorkerLostError
from daft_k8s.wire.codec import MessageError
from daft_k8s.wire.pickled_errors import decode_error
from daft_k8s.wire.raised import CarriedError, add_note, headline, is_ordinary, type_name
from daft_k8s.wire.task_payload import split_result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daft_k8s._native import K8sTaskResultHandle, TaskOutcome
    from daft_k8s.seam.limit import DriverLimitHandle

logger = logging.getLogger("daft_k8s")

_NAMES_THE_TASK = re.compile(r"^$|\) failed on \S+:$")
_FRAME = re.compile(r'( *)File "(.+)", line (\d+), in .+')


class TaskHandle(Protocol):
    """The methods that Daft calls on a task handle."""

    async def get_result(self) -> RayTaskResult: ...
    def cancel(self) -> None: ...


class FailedTaskHandle:
    """A task that could not even be submitted: Daft learns it where it learns all failures."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def get_result(self) -> RayTaskResult:
        raise CarriedError(self._error)

    def cancel(self) -> None:
        """Nothing runs."""


class SubmittedTaskHandle:
    """A task in the pool's hands."""

    def __init__(
        self,
        handle: K8sTaskResultHandle,
        *,
        query_id: str,
        task_id: int,
        name: str,
        counters: Sequence[DriverLimitHandle] = (),
        on_end: Callable[[TaskOutcome], None] | None = None,
        release_actors: Callable[[], None] | None = None,
        trust_workers: bool = False,
    ) -> None:
        self._handle = handle
        self._label = f"task {task_id} ({name}) of query {query_id}"
        self._input_id = str(task_id)
        self._counters = counters
        self._on_end = on_end
        self._release_actors = release_actors
        self._trust_workers = trust_workers
        self._cancelled = False

    async def get_result(self) -> RayTaskResult:
        """Waits, on the event loop, for the end of the task.

        Raises:
            CarriedError: With what the task's own code raised, e.g. Daft's UDFException; a TaskError if that cannot be
                raised here; a WorkerLostError if workers were lost more often than the pool tries again.
        """
        ended: asyncio.Future[TaskOutcome] = asyncio.get_running_loop().create_future()

        def on_end(outcome: TaskOutcome) -> None:
            if not ended.done():
                ended.set_result(outcome)

        self._handle.add_done_callback(on_end)
        outcome = await ended
        if self._on_end is not None:
            self._on_end(outcome)
        if self._release_actors is not None:
            self._release_actors()
        if outcome.kind == "success":
            missing = self._missing_rows(outcome.worker_id)
            if missing is not None:
                raise CarriedError(missing)
            try:
                stats, in_flight_server = split_result(outcome.stats)
                references = [FlightPartitionRef(*dataclasses.astuple(reference)) for reference in in_flight_server]
            except (MessageError, OverflowError) as error:
                raise CarriedError(
                    TaskError(
                        f"{self._label}: worker {outcome.worker_id} ended it with a report that is none ({error}); its "
                        "daft_k8s differs from the driver's, or its process was taken over"
                    )
                ) from None
            if references:
                return RayTaskResult.success_flight(references, stats)
            partitions = [RayPartitionRef(ref, ref.num_rows, ref.size_bytes) for ref in outcome.partitions]
            return RayTaskResult.success_ray(partitions, stats)
        if outcome.kind == "cancelled" and self._cancelled:
            raise asyncio.CancelledError(f"{self._label} was cancelled")
        raise CarriedError(error_of(outcome, self._label, trust_workers=self._trust_workers))

    def cancel(self) -> None:
        """Asks the pool to stop the task; never raises, because Daft would abort the process' query thread."""
        self._cancelled = True
        try:
            self._handle.cancel()
            if self._release_actors is not None:
                # Daft does not wait for the result of a task that it cancels, not even if it has not begun to.
                self._release_actors()
        except Exception:
            logger.exception("could not cancel %s", self._label)

    def _missing_rows(self, worker_id: str) -> WorkerLostError | None:
        for handle in self._counters:
            missing = handle.counter.missing_rows(self._input_id, worker_id)
            if missing:
                return WorkerLostError(
                    f"{self._label} ran again after a worker was lost and found {missing} rows fewer than before, "
                    "so its LIMIT would be short; run the query again",
                    loss=Loss.INPUTS,
                )
        return None


def error_of(outcome: TaskOutcome, label: str, *, trust_workers: bool) -> BaseException:
    """The exception for a task that did not succeed: one that may be raised anywhere."""
    where = f"{label} on {outcome.worker_id}" if outcome.worker_id else label
    if outcome.kind == "lost":
        named = outcome.message.startswith(label)
        text = outcome.message if named else f"{where} was lost: {outcome.message}"
        return WorkerLostError(text, loss=Loss(outcome.loss))
    if outcome.kind == "cancelled":
        return TaskError(f"{where} was cancelled: {outcome.message or 'its session or query has ended'}")
    original = decode_error(outcome.error, f"{where} failed: {outcome.message}", trusted=trust_workers)
    if not is_ordinary(original):
        # A task that raised SystemExit or the like must not end the driver.
        replaced = TaskError(f"{where} failed: {headline(original)}\n{outcome.message}".rstrip())
        replaced.__cause__ = original
        return replaced
    if type(original) is TaskError:
        # Made by the worker, e.g. in the place of what cannot be pickled: it does not know yet where it was raised.
        text = str(original)
        return original if text.startswith(where) else TaskError(f"{where} failed: {text}\n{outcome.message}".rstrip())
    add_note_or_log(original, _origin(original, where, outcome.message))
    return original


def add_note_or_log(error: BaseException, note: str) -> None:
    """Adds a note to an exception. An older Python does not show notes, so there it is logged."""
    if not add_note(error, note) or sys.version_info < (3, 11):
        logger.error("%s: %s", type_name(error), note)


def _origin(error: BaseException, where: str, message: str) -> str:
    """Tells where an exception was raised: in which task, and in which lines, as far as it does not say so itself.

    Args:
        error: The exception.
        where: The task.
        message: The worker's words: a line about the task, and its traceback.
    """
    head, _, details = message.partition("\n")
    # The worker knows the task by the same name; it may know more, e.g. that other tasks failed with it.
    told = [f"raised in {where}", *([] if _NAMES_THE_TASK.search(head) else [head])]
    details = details.removeprefix(headline(error, qualified=True).removeprefix("builtins.")).strip("\n")
    return "\n".join([*told, with_source(details)]).rstrip()


def with_source(traceback: str) -> str:
    """Adds the lines of source that the worker did not have: scripts and cells of notebooks are not shipped."""
    lines = traceback.split("\n")
    told: list[str] = []
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=""):
        told.append(line)
        frame = _FRAME.fullmatch(line)
        if frame and not following.startswith(f"{frame[1]}  "):
            source = linecache.getline(frame[2], int(frame[3])).strip()
            told += [f"{frame[1]}  {source}"] if source else []
    return "\n".join(told)
