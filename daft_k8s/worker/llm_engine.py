"""One vLLM engine: what an actor of Daft's vLLM provider is. Its prompts run side by side, as vLLM batches them."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from daft_k8s.worker.event_loop import start_in_background

logger = logging.getLogger(__name__)

_KEPT_SECONDS = 60.0
"""A batch for which no task asks for so long is dropped; tasks ask about once a second."""
_ENGINE_DEAD = "EngineDeadError"
"""vLLM's error, by its name: its module has moved between versions."""


class LLMEngine:
    """Runs in the actor's process, whose one thread makes calls; the engine's own loop runs on another.

    Args:
        model: As vLLM names it.
        engine_args: For vLLM's `AsyncEngineArgs`.
        generate_args: For each prompt; `sampling_params` among them.
        clock: Seconds that pass.
    """

    def __init__(
        self,
        model: str,
        engine_args: dict[str, Any],
        generate_args: dict[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Not a dependency: the workers' image has it, or the constructor fails and the query says so.
        vllm: Any = importlib.import_module("vllm")
        self._engine = vllm.AsyncLLMEngine.from_engine_args(vllm.AsyncEngineArgs(model=model, **engine_args))
        self._generate_args = dict(generate_args)
        self._sampling_params = self._generate_args.pop("sampling_params", None) or vllm.SamplingParams()
        self._batches: dict[str, Future[list[str]]] = {}
        self._clock = clock
        self._asked: dict[str, float] = {}
        """When each batch was last asked for, the longest ago first."""
        self._loop = start_in_background("vllm")

    def submit(self, ticket: str, prompts: Sequence[str]) -> None:
        """Begins a batch; one that is there already goes on, as the call was repeated."""
        self._note(ticket)
        if ticket not in self._batches:
            self._batches[ticket] = asyncio.run_coroutine_threadsafe(self._batch(ticket, prompts), self._loop)

    def collect(self, ticket: str) -> tuple[bool, list[str] | None]:
        """Returns True if a batch is known, and its outputs once it is done. The engine then forgets the batch.

        Raises:
            Exception: vLLM's exception for one of its prompts.
        """
        batch = self._batches.get(ticket)
        if batch is None:
            return False, None
        self._note(ticket)
        if not batch.done():
            return True, None
        self._asked.pop(ticket)
        return True, self._batches.pop(ticket).result()

    def forget(self, ticket: str) -> None:
        """Ends a batch that is not wanted any more; vLLM aborts its unfinished prompts."""
        self._asked.pop(ticket, None)
        batch = self._batches.pop(ticket, None)
        if batch is not None:
            batch.cancel()

    def _note(self, ticket: str) -> None:
        """Notes a question for a batch. Batches without a question for long end: their task is gone or elsewhere."""
        now = self._clock()
        self._asked.pop(ticket, None)
        self._asked[ticket] = now
        for other, asked in list(itertools.takewhile(lambda item: item[1] < now - _KEPT_SECONDS, self._asked.items())):
            logger.info("the batch %s is dropped: no task has asked for it for %g s", other, now - asked)
            self.forget(other)

    async def _batch(self, ticket: str, prompts: Sequence[str]) -> list[str]:
        works = [
            asyncio.ensure_future(self._generate(prompt, f"{ticket}-{number}")) for number, prompt in enumerate(prompts)
        ]
        try:
            return await asyncio.gather(*works)
        finally:
            for work in works:
                work.cancel()

    async def _generate(self, prompt: str, request_id: str) -> str:
        last: Any = None
        try:
            async for output in self._engine.generate(prompt, self._sampling_params, request_id, **self._generate_args):
                last = output
        except Exception as error:
            if self._is_dead(error):
                print(f"vLLM's engine has died, and so this process ends: {error}", file=sys.stderr, flush=True)
                _end_process()
            raise
        text: str = last.outputs[0].text
        return text

    def _is_dead(self, error: Exception) -> bool:
        """True if the engine, in vLLM V1 a separate process, takes no more prompts."""
        return type(error).__name__ == _ENGINE_DEAD or getattr(self._engine, "errored", False) is True


def _end_process() -> None:
    """The worker starts another in its place; an error would be the query's."""
    os._exit(1)
