"""The sharing of a running pipeline of Daft's native executor between tasks, and the proof of each task's success.

Tasks whose contexts carry the same `plan_fingerprint` share one pipeline in the executor. Sharing
saves the start-up of UDFs, and brings two faults of the executor with it:

- *Silent truncation.* If one task's input kills the pipeline, the other tasks' streams just end.
  The first `try_finish` that notices raises; later ones return success with empty statistics. One
  that is called while the pipeline is still going down returns success too.
- A pipeline can be cancelled only as a whole.

So here, a shared pipeline has members, and a member's end is decided by one of two proofs. The last member's
`try_finish` waits for the pipeline itself, so its answer is the truth. For any other member, the executor's loop is
probed *after* the member's stream has ended. A loop that still takes inputs has not dropped any stream, so the stream
ended because its task was complete. Once a pipeline is known to be dead, every unfinished member fails with the cause
of the first.

Each pipeline gets a number of its own, above Daft's 32-bit fingerprints, which is never used again.
A pipeline that has been left by its last member, or has failed, is thus never joined.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Awaitable, Hashable
from typing import Any, Generic, Protocol, TypeVar

from daft_k8s.wire.raised import headline, uncarried

Request = TypeVar("Request", contravariant=True)
_Request = TypeVar("_Request")


class PipelineStream(Protocol):
    """The results of one task. All that users' code raises arrives as a `CarriedError`."""

    def next(self) -> Awaitable[Any]:
        """The next result; None at the end."""

    def try_finish(self) -> Awaitable[Any]:
        """The executor's statistics, once the results have been read."""


class PipelineExecutor(Protocol[Request]):
    """The executor as the group sees it."""

    def start(self, request: Request, pipeline_id: int) -> Awaitable[PipelineStream]:
        """Starts the pipeline if there is none of this id, and gives it the request's inputs."""

    def probe(self, request: Request, pipeline_id: int) -> Awaitable[None]:
        """Returns only if the pipeline takes inputs at this moment; raises if it is dead."""

    def cancel(self, pipeline_id: int) -> None:
        """Kills the pipeline, if it is there."""


class PipelineFailedError(Exception):
    """A task's pipeline died of `cause`; `shared`: it had other members, one of which may be to blame."""

    def __init__(self, cause: BaseException, *, shared: bool) -> None:
        self.cause = uncarried(cause)
        super().__init__(headline(self.cause))
        self.shared = shared


class _State(enum.Enum):
    RUNNING = "its stream is, or will be, read to the end"
    STRANDED = "its inputs could not be given to the pipeline; it waits for the reason"
    ABANDONED = "cancelled or failed on its own; the pipeline may still work on its inputs"


class PipelineGroups(Generic[_Request]):
    """All pipelines of a worker. Used on one event loop."""

    def __init__(self, executor: PipelineExecutor[_Request]) -> None:
        self._executor = executor
        self._numbers = itertools.count(1)
        self._joinable: dict[Hashable, _Pipeline[_Request]] = {}

    def join(self, request: _Request, *, fingerprint: int, shared_key: Hashable | None) -> PipelineMember[_Request]:
        """Gives a task its place in a pipeline.

        Args:
            request: The executor's request for the task.
            fingerprint: Daft's fingerprint of the plan; its low 32 bits stay readable in the new number.
            shared_key: Tasks with equal keys may share a pipeline; None: a pipeline of its own.
        """
        pipeline = None if shared_key is None else self._joinable.get(shared_key)
        if pipeline is None or not pipeline.joinable:
            number = (next(self._numbers) << 32) | (fingerprint & 0xFFFFFFFF)
            pipeline = _Pipeline(self._executor, number, self._forget)
            if shared_key is None:
                pipeline.joinable = False
            else:
                pipeline.shared_key = shared_key
                self._joinable[shared_key] = pipeline
        return PipelineMember(pipeline, request)

    def _forget(self, pipeline: _Pipeline[_Request]) -> None:
        if self._joinable.get(pipeline.shared_key) is pipeline:
            del self._joinable[pipeline.shared_key]


class _Pipeline(Generic[_Request]):
    """One pipeline and the tasks that have not left it."""

    def __init__(self, executor: PipelineExecutor[_Request], number: int, forget: Any) -> None:
        self.executor = executor
        self.number = number
        self.shared_key: Hashable = None
        self.joinable = True
        self.failure: BaseException | None = None
        self.members: dict[PipelineMember[_Request], _State] = {}
        self.finishing = asyncio.Lock()
        self._forget = forget
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Closes the group: no task may join any more."""
        self.joinable = False
        self._forget(self)

    def fail(self, cause: BaseException) -> None:
        self.failure = self.failure or cause
        self.close()
        self._changed.set()

    def leave(self, member: PipelineMember[_Request]) -> None:
        self.members.pop(member, None)
        if self.failure is not None and not self.members:
            self.executor.cancel(self.number)  # in case no `try_finish` has removed it
        self.settle()

    def settle(self) -> None:
        """After any change: wakes waiting members, and kills a pipeline without members."""
        if self.members and all(state is _State.ABANDONED for state in self.members.values()):
            self.members.clear()
            self.close()
            self.executor.cancel(self.number)
        self._changed.set()

    async def reason(self) -> BaseException | None:
        """Waits until the cause of death is known, or no member is left that could find it out."""
        while self.failure is None and _State.RUNNING in self.members.values():
            self._changed.clear()
            await self._changed.wait()
        return self.failure


class PipelineMember(Generic[_Request]):
    """One task's place in a pipeline. Call `start`, read the stream to its end, then `finish`; or `abandon`."""

    def __init__(self, pipeline: _Pipeline[_Request], request: _Request) -> None:
        self._pipeline = pipeline
        self._request = request
        pipeline.members[self] = _State.RUNNING

    @property
    def pipeline_id(self) -> int:
        """The number to be used as `plan_fingerprint`."""
        return self._pipeline.number

    async def start(self) -> PipelineStream:
        """Gives the task's inputs to the pipeline.

        Raises:
            PipelineFailedError: The pipeline could not be built, or died before it took the inputs.
        """
        pipeline = self._pipeline
        try:
            return await pipeline.executor.start(self._request, pipeline.number)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a panic of the extension is no Exception
            if len(pipeline.members) == 1:
                pipeline.fail(error)
                pipeline.leave(self)
                raise PipelineFailedError(error, shared=False) from error
            # The executor says only that the pipeline is dead; who is still reading will learn why.
            pipeline.members[self] = _State.STRANDED
            pipeline.close()
            cause = await pipeline.reason() or error
            pipeline.fail(cause)
            pipeline.leave(self)
            raise PipelineFailedError(cause, shared=True) from error

    async def finish(self, stream: PipelineStream) -> Any:
        """Ends a task whose stream has ended; returns the executor's statistics.

        Raises:
            PipelineFailedError: The pipeline died, so the stream may have ended too early.
        """
        pipeline = self._pipeline
        async with pipeline.finishing:
            shared = len(pipeline.members) > 1
            doubt = pipeline.failure
            if doubt is None and shared:
                doubt = await _error_of(pipeline.executor.probe(self._request, pipeline.number))
            if doubt is None and not shared:
                pipeline.close()
            try:
                stats = await stream.try_finish()
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                # After a failed probe, this says better than the probe what happened.
                doubt = pipeline.failure or error
            if doubt is not None:
                pipeline.fail(doubt)
                pipeline.leave(self)
                raise PipelineFailedError(doubt, shared=shared)
            pipeline.leave(self)
            return stats

    def abandon(self) -> None:
        """The task's outputs are no longer wanted. Never raises; does nothing after `finish`.

        A pipeline without other members is killed; else it runs on and the task's share is discarded.
        """
        pipeline = self._pipeline
        if self in pipeline.members:
            pipeline.members[self] = _State.ABANDONED
            pipeline.close()
            pipeline.settle()


async def _error_of(attempt: Awaitable[None]) -> BaseException | None:
    try:
        await attempt
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return error
    return None
