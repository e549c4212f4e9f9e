"""A task's end of Daft's vLLM engines: its prompts go to engines, its rows stay here.

On Ray, rows travel to the engines too and come back in whichever task asks next. Here each task gets its own rows back.
So a task may run again, and end at any time, and no row is lost or given out twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from daft.recordbatch import RecordBatch

from daft_k8s.errors import ActorError
from daft_k8s.handles.actor_calls import ActorGoneError, run_in_worker

if TYPE_CHECKING:
    from daft_k8s.handles.actor_calls import ActorPlace
    from daft_k8s.handles.actors import ActorHandle, EnginePool

MAX_SUBMISSIONS = 5
"""Times that a batch is given to an engine. A batch under which an engine was lost this often is the likely cause."""
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
"""Between two questions whether a batch is done."""


class PromptExecutor:
    """Daft makes one for each task and calls it on a thread of its own; nothing here waits."""

    def __init__(self, engines: EnginePool) -> None:
        self._engines = engines
        self._batches: list[tuple[Future[list[str]], RecordBatch]] = []
        self._finished_submitting = False

    def submit(self, prefix: str | None, prompts: list[str], rows: RecordBatch) -> None:
        """Begins a batch of prompts, one for each row."""
        if prompts:
            self._batches.append((run_in_worker(generate(self._engines, prefix, prompts)), rows))

    def poll(self) -> tuple[list[str], RecordBatch] | None:
        """The outputs of all batches that are done, and their rows; None if there are none.

        Raises:
            Exception: The failure of a batch.
        """
        outputs: list[str] = []
        done: list[RecordBatch] = []
        left: list[tuple[Future[list[str]], RecordBatch]] = []
        for batch, rows in self._batches:
            if batch.done():
                outputs += batch.result()
                done.append(rows)
            else:
                left.append((batch, rows))
        self._batches = left
        return (outputs, RecordBatch.concat(done)) if done else None

    def finished_submitting(self) -> None:
        """Daft calls this after the last batch."""
        self._finished_submitting = True

    def all_tasks_finished(self) -> bool:
        """True if no more tasks are to come."""
        return self._finished_submitting and not self._batches

    def __del__(self) -> None:
        # The task was cancelled or has failed, or there is nothing left.
        for batch, _ in self._batches:
            with contextlib.suppress(RuntimeError):  # the event loop is closed: the worker ends
                batch.cancel()


async def generate(engines: EnginePool, prefix: str | None, prompts: Sequence[str]) -> list[str]:
    """Has a batch of prompts generated, by another engine if one is lost.

    Raises:
        ActorError: Engines were lost again and again, or none is left.
        Exception: vLLM's exception.
    """
    for _ in range(MAX_SUBMISSIONS):
        engine = await engines.choose(prefix, len(prompts))
        outputs = await _generate_once(engine, prompts)
        if outputs is not None:
            return outputs
    raise ActorError(
        f"a batch of {len(prompts)} prompts was given to {MAX_SUBMISSIONS} vLLM engines in turn, and each was lost "
        f"or could not be reached before it was done, the last was {engine.actor_id}; the logs of the workers say how "
        "they ended"
    )


async def _generate_once(engine: ActorHandle, prompts: Sequence[str]) -> list[str] | None:
    ticket, pause = uuid.uuid4().hex, _FIRST_PAUSE_SECONDS
    place: ActorPlace | None = None
    try:
        # To any engine, but then to this one: no other knows the ticket.
        _, place = await engine.call_and_stay("submit", ticket, list(prompts))
        while True:
            known, outputs = await place.call("collect", ticket)
            if not known or outputs is not None:
                return outputs if known else None
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
    except ActorGoneError:
        return None
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            if place is not None:
                await place.call_once("forget", ticket)
            else:
                await engine.call("forget", ticket)
        raise
