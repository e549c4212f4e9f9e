"""The calls of a worker to its driver: one dataclass for each request, and one for each reply.

A new call is declared here and gets a handler in the driver (`WorkerCalls.add`). Workers make it with
`call_driver(Request(...))`, which returns the reply.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Generic, TypeVar

Reply = TypeVar("Reply")


class DriverCall(Generic[Reply]):
    """A request of a worker to its driver; names the type of the reply."""


@dataclass(frozen=True)
class Done:
    """The reply to a call that only tells the driver something."""


# --------------------------------------------------------------------------------------------------- LIMIT


@dataclass(frozen=True)
class LimitStarted:
    """The run of a task that a counter knows from now on."""

    epoch: int
    """Counts the runs of this task; each claim carries it."""


@dataclass(frozen=True)
class StartLimit(DriverCall[LimitStarted]):
    """The first rows of a task reach its LIMIT."""

    counter_id: str
    input_id: str
    """The task's id as text, which is also that of its input."""


@dataclass(frozen=True)
class RowsGranted:
    """The rows of a piece that a task may keep: see `LimitCounter.claim`."""

    skip: int
    take: int
    done: bool


@dataclass(frozen=True)
class ClaimRows(DriverCall[RowsGranted]):
    """A task asks how many rows of a piece it may keep."""

    counter_id: str
    input_id: str
    epoch: int
    num_rows: int


@dataclass(frozen=True)
class TaskRestarts(DriverCall[Done]):
    """A task runs again, before its first row."""

    query_id: str
    input_id: str


# -------------------------------------------------------------------------------------------------- actors


class ActorEvent(enum.Enum):
    """The events of an actor that its worker reports."""

    READY = "takes calls"
    RESTARTING = "its process died and is replaced here"
    KILLED = "its process was killed in its constructor: another try may go better"
    LATE = "its constructor was not done in time"
    FAILED = "is gone for good"


@dataclass(frozen=True)
class ActorNews(DriverCall[Done]):
    """A worker reports an event of one of its actors."""

    actor_id: str
    event: ActorEvent
    generation: int
    address: str
    """The control address at which other workers reach the actor's worker."""
    reason: str
    error: bytes
    """The exception of the constructor, by `encode_error`; empty: it raised none."""


@dataclass(frozen=True)
class ActorRoute:
    """The location of an actor, as the driver knows it."""

    actor_id: str
    generation: int
    worker_id: str
    address: str


@dataclass(frozen=True)
class FindActor(DriverCall[ActorRoute]):
    """A task looks for an actor; the driver names another one of the pool if this one is gone and that is allowed."""

    pool_id: str
    actor_id: str
    failed: tuple[tuple[str, int], ...] = ()
    """Actors and their generations that the task has tried for this call."""


@dataclass(frozen=True)
class ActorPresence:
    """True if the actor takes calls where the caller knows it to be."""

    is_there: bool


@dataclass(frozen=True)
class CheckActor(DriverCall[ActorPresence]):
    """A task asks about an actor that it cannot reach."""

    pool_id: str
    actor_id: str
    generation: int


@dataclass(frozen=True)
class EngineChosen:
    """The vLLM engine for a batch of prompts."""

    actor_id: str


@dataclass(frozen=True)
class ChooseEngine(DriverCall[EngineChosen]):
    """A task has a batch of prompts for one of a pool's vLLM engines."""

    pool_id: str
    prefix: str | None
    """The text with which all prompts of the batch begin."""
    num_prompts: int


# ---------------------------------------------------------------------------------------------------- code


@dataclass(frozen=True)
class CodeManifest:
    """The list of files of the driver's code."""

    data: bytes


@dataclass(frozen=True)
class FetchCodeManifest(DriverCall[CodeManifest]):
    """A worker needs the driver's code with this digest."""

    digest: str


@dataclass(frozen=True)
class CodeChunk:
    """A piece of the archive with the driver's code."""

    data: bytes


@dataclass(frozen=True)
class FetchCodeChunk(DriverCall[CodeChunk]):
    """A worker lacks the driver's code with this digest."""

    digest: str
    offset: int
    """A multiple of `CHUNK_BYTES`."""


# -------------------------------------------------------------------------------------------------- memory


@dataclass(frozen=True)
class ReportMemory(DriverCall[Done]):
    """The memory of a worker now."""

    resident_bytes: int = 0
    """Of its process."""
    held_bytes: int = 0
    """Partitions in memory."""
    spilled_bytes: int = 0
    """Partitions on disk."""


# -------------------------------------------------------------------------------------------------- output


@dataclass(frozen=True)
class PrintLines(DriverCall[Done]):
    """A worker sends lines that it printed or logged. The reply comes when they are printed, and asks for more."""

    dropped: int
    """Lines before these that the worker had no room for."""
    lines: tuple[str, ...]
    """Lines of one worker, in order."""
