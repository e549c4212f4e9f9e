"""The request for a pool of actors, and the parts of its actors as workers get them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daft_k8s.errors import ActorError
from daft_k8s.wire.actor_messages import ActorSpec

if TYPE_CHECKING:
    from daft_k8s.wire.code_reference import CodeReference

_ROOM_FOR_THE_REST_BYTES = 64 << 10
"""The part of a message besides the arguments of an actor."""


@dataclass(frozen=True)
class Demand:
    """The need of one actor."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True)
class PoolRequest:
    """The shape of a pool. The extension reads the fields of these names."""

    name: str
    """For people: the name of the UDF."""
    factory: str
    """`module:Class` of each actor, importable in the worker."""
    arguments: tuple[bytes, ...]
    """The pickled arguments of the class, actor by actor; a single one is for all."""
    count: int
    demand: Demand
    start_timeout_seconds: float
    max_restarts: int = 4
    """Times that an actor's process is replaced after it died."""
    code: CodeReference | None = None
    """The driver's code that workers need first."""
    folder: str | None = None
    """The folder in which relative paths of the actors start: see `TaskNeeds.folder`."""
    search_path: tuple[str, ...] = ()
    """News of the driver's search path, as a task's payload has them."""
    stateless: bool = True
    """A call may be made to any actor, and a new one is as good as the one that was lost."""
    shares_cpus: bool = True
    """The first actor may share the CPUs of other actors, where it would else wait for them."""

    def encode_specs(self, max_message_bytes: int) -> list[bytes]:
        """The parts of each actor, or one for all.

        Args:
            max_message_bytes: The size of the largest message. A worker refuses a larger one, and nothing would tell.

        Raises:
            ActorError: The request is too large to be sent.
        """
        largest = max(len(arguments) for arguments in self.arguments)
        if largest + _ROOM_FOR_THE_REST_BYTES > max_message_bytes:
            raise ActorError(
                f"{self.name} is too large to be sent to the workers: with the data that it refers to it has "
                f"{largest >> 20} MiB, and max_message_bytes allows {max_message_bytes >> 20} MiB; load the data in "
                "__init__, or raise that"
            )
        return [self._spec(arguments).encode() for arguments in self.arguments]

    def _spec(self, arguments: bytes) -> ActorSpec:
        return ActorSpec(
            name=self.name,
            factory=self.factory,
            arguments=arguments,
            cpus=self.demand.cpus,
            start_timeout_seconds=self.start_timeout_seconds,
            max_restarts=self.max_restarts,
            code=self.code,
            folder=self.folder,
            search_path=self.search_path,
        )
