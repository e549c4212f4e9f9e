"""Messages to actors and back: between the driver, the workers and the actors' own processes.

A message is one pickle whose large buffers stay outside of it (protocol 5). Daft's partitions keep their Arrow buffers
there, so no buffer is copied into the pickle or out of it. Their batches, empty ones included, stay as they are. Laid
out in bytes, each part begins at a multiple of 64, so that Arrow can use it where it lies.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from daft_k8s.wire import codec
from daft_k8s.wire.code_reference import CodeReference
from daft_k8s.wire.raised import add_note, ordinary

UDF_ACTOR = "daft_k8s.worker.udf_actor:UdfActor"
LLM_ENGINE = "daft_k8s.worker.llm_engine:LLMEngine"
"""The factories of our own actors."""

ALIGNMENT_BYTES = 64
_PROTOCOL = 5
_COUNT = struct.Struct("<Q")

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class ActorSpec:
    """The parts of an actor. The driver sends them to the worker that shall host the actor."""

    name: str
    """For people: the name of the UDF."""
    factory: str
    """`module:Class` of the object that the actor is, importable in the worker."""
    arguments: bytes
    """The arguments of that class, pickled with Daft's pickler."""
    cpus: float
    start_timeout_seconds: float
    """Seconds that the actor's constructor may take."""
    max_restarts: int
    """Times that the actor's process is replaced after it died."""
    code: CodeReference | None = None
    """The driver's code, which must be importable before `arguments` are unpickled; None: nothing is shipped."""
    folder: str | None = None
    """The folder in which its relative paths start: see `TaskNeeds.folder`."""
    search_path: tuple[str, ...] = ()
    """The driver's `sys.path`, as a task's payload has it."""
    number: int = 0
    """The number of the actor among those of its UDF; this and the next fields are those of one place."""
    generation: int = 0
    """Counts the places that this actor had; news of an earlier one are stale."""
    gpu_devices: tuple[int, ...] = ()
    """Indices into the worker's own devices; empty: the actor was promised none."""

    @property
    def label(self) -> str:
        """The actor's name for people."""
        return f"actor {self.number} of {self.name}"

    def at(self, actor_id: str, generation: int, gpu_devices: Sequence[int]) -> ActorSpec:
        """The spec of one actor at one place."""
        number = int(actor_id.rpartition("/")[2])
        return replace(self, number=number, generation=generation, gpu_devices=tuple(gpu_devices))

    def encode(self) -> bytes:
        """The spec as bytes."""
        return codec.encode(self)

    @classmethod
    def decode(cls, data: Buffer) -> ActorSpec:
        """The inverse of `encode`."""
        spec: ActorSpec = codec.decode(data)
        return spec


def encode_message(value: Any) -> list[Buffer]:
    """A value as the parts of a message; the parts are views of the value's own buffers."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(value, _PROTOCOL, buffer_callback=buffers.append)
    parts: list[Buffer] = [body, *(buffer.raw() for buffer in buffers)]
    head = _COUNT.pack(len(parts)) + b"".join(_COUNT.pack(len(part)) for part in parts)
    laid_out: list[Buffer] = [head, bytes(_padding(len(head)))]
    for part in parts:
        laid_out += [part, bytes(_padding(len(part)))]
    return [part for part in laid_out if len(part)]


def join_message(parts: Sequence[Buffer]) -> bytes:
    """The parts of a message as one string of bytes."""
    return b"".join(parts)


def decode_message(data: Buffer) -> Any:
    """The inverse of `encode_message`; the value's buffers lie in `data`, which lives as long as they do."""
    view = memoryview(data)
    (count,) = _COUNT.unpack_from(view, 0)
    lengths = [_COUNT.unpack_from(view, _COUNT.size * (1 + index))[0] for index in range(count)]
    start = _aligned(_COUNT.size * (1 + count))
    parts = []
    for length in lengths:
        parts.append(view[start : start + length])
        start = _aligned(start + length)
    return pickle.loads(parts[0], buffers=parts[1:])


@dataclass(frozen=True)
class ActorCall:
    """A call of one of an actor's methods."""

    method: str
    arguments: tuple[Any, ...]


def encode_call(method: str, arguments: tuple[Any, ...]) -> list[Buffer]:
    """A call of one of an actor's methods."""
    return encode_message(ActorCall(method, arguments))


@dataclass(frozen=True)
class Answer:
    """The end of a call of an actor."""

    kind: str
    """`value`; `error`: the actor's own code raised; `dead`: the actor is gone, and did not begin the call."""
    value: Any = None
    error: bytes = b""
    message: str = ""


def result_of(answer: Answer, label: str) -> Any:
    """The value of an answer, or what the actor's code raised.

    Raises:
        Exception: As the code raised it, with the actor's traceback as a note.
        TaskError: In the place of an exception on which Python would act.
    """
    if answer.kind == "value":
        return answer.value
    from daft_k8s.wire.pickled_errors import decode_error

    text = f"{label}: {answer.message}"
    error = ordinary(decode_error(answer.error, text, trusted=True), text)
    add_note(error, f"raised in {label}\n{answer.message}".rstrip())
    raise error


def _aligned(position: int) -> int:
    return position + _padding(position)


def _padding(length: int) -> int:
    return -length % ALIGNMENT_BYTES
