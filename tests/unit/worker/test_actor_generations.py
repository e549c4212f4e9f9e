"""What a worker is told of one actor, in whatever order it comes: the latest generation counts. No processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from daft_k8s.wire.actor_messages import ActorSpec
from daft_k8s.worker import actor_host
from daft_k8s.worker.actor_host import ActorHost


class Command(NamedTuple):
    """Stands in for `ActorCommand`."""

    kind: str
    actor_id: str
    generation: int = 0
    payload: bytes = b""
    gpu_devices: tuple[int, ...] = ()


class FakeActor:
    """Notes how it ended."""

    def __init__(self, spec: ActorSpec, *_: object, **__: object) -> None:
        self.spec = spec
        self.gone = False

    def stop(self) -> None:
        self.gone = True

    kill = stop


class FakeCode:
    async def ensure(self, *_: object) -> None:
        await asyncio.sleep(0)


def start(generation: int, actor_id: str = "pool/0") -> Command:
    spec = ActorSpec("UDF f", "module:Class", b"", 1.0, 10, 4)
    return Command("start", actor_id, generation, spec.encode())


def stop(generation: int, actor_id: str = "pool/0") -> Command:
    return Command("stop", actor_id, generation)


def generation_after(monkeypatch: pytest.MonkeyPatch, *commands: Command) -> int | None:
    """Which generation of the actor runs after these commands; None if there is none."""
    monkeypatch.setattr(actor_host, "HostedActor", FakeActor)

    async def tell(host: ActorHost) -> int | None:
        for command in commands:
            host.on_command(command)  # type: ignore[arg-type]
            for _ in range(3):
                await asyncio.sleep(0)
        actor = host.find("pool/0")
        return None if actor is None else actor.spec.generation

    return run(tell)


def run(scenario: Callable[[ActorHost], Awaitable[Any]]) -> Any:
    async def play() -> Any:
        return await scenario(ActorHost(worker_id="worker-0", gpus=0, code=FakeCode()))  # type: ignore[arg-type]

    return asyncio.run(play())


def test_a_stop_ends_the_generation_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert generation_after(monkeypatch, start(1)) == 1
    assert generation_after(monkeypatch, start(1), stop(1)) is None


def test_a_stop_that_comes_late_does_not_end_the_actor_that_was_started_since(monkeypatch: pytest.MonkeyPatch) -> None:
    assert generation_after(monkeypatch, start(1), stop(1), start(2), stop(1)) == 2
    assert generation_after(monkeypatch, start(2), stop(1)) == 2


def test_a_start_that_comes_late_does_not_bring_back_what_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert generation_after(monkeypatch, start(1), stop(1), start(1)) is None
    assert generation_after(monkeypatch, stop(1), start(1)) is None, "nobody would stop it any more"


def test_a_later_generation_takes_the_place_of_an_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert generation_after(monkeypatch, start(1), start(2)) == 2
    assert generation_after(monkeypatch, start(2), start(1)) == 2


def test_generations_of_actors_that_are_gone_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor_host, "_GENERATIONS_KEPT", 3)
    others = [command for number in range(9) for command in (start(1, f"p/{number}"), stop(1, f"p/{number}"))]
    assert generation_after(monkeypatch, start(2), *others, stop(1)) == 2, "one that is there was forgotten"
    assert generation_after(monkeypatch, start(1), stop(1), *others, start(1)) == 1
