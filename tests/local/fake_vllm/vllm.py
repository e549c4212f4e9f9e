"""Stands in for vLLM in tests: the part of it that Daft and daft_k8s use. It has no GPU, and says which engine spoke.

Engine arguments of its own: `folder`, where each engine leaves a file named after its process and lists its prompts,
`hold`, a prompt that waits until the folder has a file `open`, and `deadly`, one that ends the first engine that gets
it as vLLM's do: the engine's own process dies, and this one, which lives on, has errors for all prompts from then on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple


class SamplingParams(NamedTuple):
    """What is made of each prompt."""

    suffix: str = "!"


class AsyncEngineArgs:
    def __init__(self, model: str, folder: str, hold: str = "", deadly: str = "") -> None:
        self.model, self.folder, self.hold, self.deadly = model, Path(folder), hold, deadly


class EngineDeadError(Exception):
    """vLLM's has the same name, in another module."""


class Completion(NamedTuple):
    text: str


class Output(NamedTuple):
    outputs: list[Completion]


class AsyncLLMEngine:
    def __init__(self, args: AsyncEngineArgs) -> None:
        self._args = args
        self._file = args.folder / f"engine-{os.getpid()}"
        self._file.touch()
        self.errored = False

    @classmethod
    def from_engine_args(cls, args: AsyncEngineArgs) -> AsyncLLMEngine:
        return cls(args)

    async def generate(self, prompt: str, params: SamplingParams, request_id: str, **_: Any) -> AsyncIterator[Output]:
        if prompt == "bad":
            raise ValueError("this model takes no such prompt")
        with self._file.open("a") as file:
            file.write(f"{prompt}\n")
        if prompt == self._args.deadly and not (self._args.folder / "dead").exists():
            (self._args.folder / "dead").touch()
            self.errored = True
        if self.errored:
            raise EngineDeadError("the engine core has died")
        while prompt == self._args.hold and not (self._args.folder / "open").exists():
            held = self._args.folder / f"held-by-{os.getpid()}"
            held.write_text(f"{os.getpid()}\n")
            held.replace(self._args.folder / "held")  # at once: a test reads the file as soon as there is one
            await asyncio.sleep(0.01)
        yield Output([Completion("")])
        await asyncio.sleep(0)
        yield Output([Completion(f"{prompt}{params.suffix}")])

    async def do_log_stats(self) -> None:
        """Daft's local executor calls this."""
