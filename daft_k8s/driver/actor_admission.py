"""Checks of actors that can never run, and the number of a pool's actors that all workers can hold."""

from __future__ import annotations

import dataclasses
import logging

from daft_k8s.driver.actor_placement import Capacity, Demand, Placement, total
from daft_k8s.driver.actor_pool import PoolRequest
from daft_k8s.errors import ActorError, ConfigurationError

logger = logging.getLogger("daft_k8s")

_ROOM_FOR_THE_REST_BYTES = 64 << 10
"""Bytes of a message beside the arguments of an actor."""


def admit(request: PoolRequest, *, capacity: Capacity, most_workers: int, most_bytes: int) -> PoolRequest:
    """Refuses what can never run, and wants no more actors than all workers together can ever hold.

    Args:
        request: The requested pool.
        capacity: The resources of each worker.
        most_workers: The largest number of workers.
        most_bytes: The size of the largest message.

    Raises:
        ConfigurationError: The request makes no sense.
        ActorError: The request is too large to be sent, or no worker could ever hold one of its actors.
    """
    _refuse_what_is_too_large(request, most_bytes)
    demand = request.demand
    problem = demand.problem()
    if problem is not None:
        raise ConfigurationError(f"{request.name}: {problem}")
    each = Placement(capacity).most_per_worker(demand, request.count)
    if each == 0:
        raise ActorError(
            f"No single actor can be scheduled: each actor of {request.name} asks for {demand}, and each worker "
            f"has {capacity} ({most_workers} workers: {total(capacity, most_workers)}); ask for less, or raise "
            "worker_cpu, worker_gpu or worker_memory"
        )
    most = each * most_workers
    if request.count <= most:
        return request
    wanted = Demand(demand.cpus * request.count, demand.gpus * request.count, int(demand.memory_bytes * request.count))
    message = (
        f"{request.name} asks for {request.count} actors with {wanted} in all, and {most_workers} workers with "
        f"{total(capacity, most_workers)} can hold {most} of them"
    )
    logger.warning("%s: it goes on with %d", message, most)
    return dataclasses.replace(request, count=most)


def _refuse_what_is_too_large(request: PoolRequest, most_bytes: int) -> None:
    """A worker refuses such a message, and nobody would be told."""
    largest = max(len(arguments) for arguments in request.arguments)
    if largest + _ROOM_FOR_THE_REST_BYTES > most_bytes:
        raise ActorError(
            f"{request.name} is too large to be sent to the workers: with the data that it refers to it has "
            f"{largest >> 20} MiB, and max_message_bytes allows {most_bytes >> 20} MiB; load the data in __init__, or "
            "raise that"
        )
