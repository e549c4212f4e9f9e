"""The placement of actors: by CPUs, memory and GPUs that no other actor has, spread over workers. Pure.

Tasks do not count, as on Ray: tasks and actors share the CPUs of a worker.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_EPSILON = 1e-6
"""Shares of a GPU are added and subtracted."""


@dataclass(frozen=True)
class Demand:
    """The resources that one actor needs."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 0

    def __str__(self) -> str:
        return describe(self.cpus, self.gpus, self.memory_bytes)

    def problem(self) -> str | None:
        """The reason that this demand fits no worker at all; None: there is none."""
        if self.gpus > 1 and not float(self.gpus).is_integer():
            return f"gpus={self.gpus:g} is neither a share of one GPU nor a whole number of GPUs"
        if min(self.cpus, self.gpus, self.memory_bytes) < 0:
            return "a request is negative"
        return None


@dataclass(frozen=True)
class Capacity:
    """The resources of each worker."""

    cpus: float
    gpus: float
    memory_bytes: int

    def __str__(self) -> str:
        return describe(self.cpus, self.gpus, self.memory_bytes)

    def devices(self) -> list[float]:
        """The GPUs of a worker, each as the share of it that the worker may use."""
        whole = math.floor(self.gpus + _EPSILON)
        rest = self.gpus - whole
        return [1.0] * whole + ([rest] if rest > _EPSILON else [])


class Place(NamedTuple):
    """The worker and the devices of an actor."""

    worker_id: str
    devices: tuple[int, ...]
    """Indices of the worker's GPUs that it may use, wholly or in part."""


@dataclass
class _Room:
    """The free resources of one worker."""

    cpus: float
    memory_bytes: int
    devices: list[float]
    actors: dict[str, tuple[Demand, tuple[int, ...]]] = field(default_factory=dict)

    def choose_devices(self, gpus: float) -> tuple[int, ...] | None:
        if gpus <= 0:
            return ()
        if gpus < 1:
            # The one that is just large enough, so that whole ones stay whole.
            fitting = [(left, index) for index, left in enumerate(self.devices) if left >= gpus - _EPSILON]
            return (min(fitting)[1],) if fitting else None
        whole = [index for index, left in enumerate(self.devices) if left >= 1 - _EPSILON]
        count = round(gpus)
        return tuple(whole[:count]) if len(whole) >= count else None

    def take(self, actor_id: str, demand: Demand, devices: tuple[int, ...], sign: int = 1) -> None:
        self.cpus -= sign * demand.cpus
        self.memory_bytes -= sign * demand.memory_bytes
        for device in devices:
            self.devices[device] -= sign * min(1.0, demand.gpus)
        if sign > 0:
            self.actors[actor_id] = (demand, devices)
        else:
            del self.actors[actor_id]


class Placement:
    """The workers that are ready, and the actors on them."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._rooms: dict[str, _Room] = {}

    def add_worker(self, worker_id: str) -> None:
        """A worker is ready; it holds no actors yet."""
        self._rooms[worker_id] = self._empty()

    def remove_worker(self, worker_id: str) -> list[str]:
        """A worker is gone; returns the actors that went with it."""
        room = self._rooms.pop(worker_id, None)
        return [] if room is None else list(room.actors)

    @property
    def workers(self) -> list[str]:
        """The workers that are ready."""
        return list(self._rooms)

    def actors_on(self, worker_id: str) -> list[str]:
        """The actors that a worker holds."""
        room = self._rooms.get(worker_id)
        return [] if room is None else list(room.actors)

    def place(self, actor_id: str, demand: Demand, *, share_cpus: bool = False, avoided: str = "") -> Place | None:
        """Finds room for an actor and takes it: on the worker with the fewest actors, then with most CPUs left.

        Args:
            actor_id: Names the actor.
            demand: The resources that it needs.
            share_cpus: Other actors' CPUs may be shared; a worker must still have as many in all.
            avoided: A worker that is taken only if there is no other.
        """
        best: tuple[tuple[float, ...], str, tuple[int, ...]] | None = None
        for worker_id, room in self._rooms.items():
            cpus = self.capacity.cpus if share_cpus else room.cpus
            if demand.cpus > cpus + _EPSILON or demand.memory_bytes > room.memory_bytes:
                continue
            devices = room.choose_devices(demand.gpus)
            if devices is None:
                continue
            rank = (worker_id == avoided, len(room.actors), -room.cpus)
            if best is None or (rank, worker_id) < best[:2]:
                best = (rank, worker_id, devices)
        if best is None:
            return None
        _, worker_id, devices = best
        self._rooms[worker_id].take(actor_id, demand, devices)
        return Place(worker_id, devices)

    def release(self, actor_id: str) -> None:
        """Gives an actor's room back; an unknown one is fine."""
        for room in self._rooms.values():
            if actor_id in room.actors:
                demand, devices = room.actors[actor_id]
                room.take(actor_id, demand, devices, sign=-1)
                return

    def most_per_worker(self, demand: Demand, wanted: int) -> int:
        """The number of such actors that an empty worker could hold, at most `wanted`."""
        alone = Placement(self.capacity)
        alone.add_worker("any")
        count = 0
        while count < wanted and alone.place(str(count), demand) is not None:
            count += 1
        return count

    def workers_needed(self, waiting: Iterable[tuple[Demand, int]]) -> int:
        """Workers needed to place all waiting actors, which do not fit on the current ones; 0 if none wait.

        Args:
            waiting: Demands, each with the number of actors.
        """
        each = [(count, self.most_per_worker(demand, count)) for demand, count in waiting if count]
        more = sum(math.ceil(count / most) for count, most in each if most)
        return len(self._rooms) + more if more else 0

    def _empty(self) -> _Room:
        return _Room(self.capacity.cpus, self.capacity.memory_bytes, self.capacity.devices())


def describe(cpus: float, gpus: float, memory_bytes: int) -> str:
    """Amounts as text for people."""
    parts = [f"{cpus:g} CPUs"]
    if gpus:
        parts.append(f"{gpus:g} GPUs")
    if memory_bytes:
        parts.append(f"{memory_bytes / 2**20:,.0f} MiB")
    return ", ".join(parts)


def total(capacity: Capacity, workers: int) -> Capacity:
    """The resources of so many workers together."""
    return dataclasses.replace(
        capacity,
        cpus=capacity.cpus * workers,
        gpus=capacity.gpus * workers,
        memory_bytes=capacity.memory_bytes * workers,
    )
