"""Calls of actors by a task: what it is told if the driver knows of no actor. Real calls are in tests/local."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from daft_k8s.errors import ActorError
from daft_k8s.worker import actor_calls
from daft_k8s.worker.driver_calls import set_current_worker

Settle = Callable[[bytes | None, str | None], None]


@pytest.fixture(autouse=True)
def no_worker_afterwards() -> Iterator[None]:
    yield
    actor_calls.set_current_host(None)
    set_current_worker(None)


class NoActors:
    """A worker without actors, whose driver knows of none."""

    def find(self, actor_id: str) -> None:
        return None

    def call_driver(self, target: str, payload: bytes, callback: Settle) -> None:
        callback(None, "ActorError: UDF f is incomplete: worker-0 was lost; run the query again")

    def call_peer(self, address: str, actor_id: str, payload: bytes, callback: Settle) -> None:
        raise AssertionError("nobody is there to be called")


def test_that_no_actor_is_left_is_an_actor_error_in_the_drivers_words() -> None:
    async def call() -> None:
        nobody = NoActors()
        set_current_worker(nobody)
        actor_calls.set_current_host(nobody, nobody)  # type: ignore[arg-type]
        await actor_calls.call_actor("pool", "pool/0", "eval_input")

    with pytest.raises(ActorError, match=r"^UDF f is incomplete: worker-0 was lost; run the query again$"):
        asyncio.run(call())
