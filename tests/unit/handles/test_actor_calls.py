"""Calls of actors by a task: what the driver is asked for them, and where they go. Real calls are in tests/local."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from daft_k8s.errors import ActorError
from daft_k8s.handles import actor_calls
from daft_k8s.handles.driver_calls import set_current_worker
from daft_k8s.seam.llm import EnginePool
from daft_k8s.wire.actor_messages import ActorCall, Answer, decode_message, encode_message, join_message
from daft_k8s.wire.calls import ActorPresence, ActorRoute, CheckActor, ChooseEngine, EngineChosen, FindActor
from daft_k8s.wire.codec import decode, encode
from daft_k8s.worker import llm_executor
from daft_k8s.worker.llm_executor import generate

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


class RemoteEngines:
    """A worker of which all engines are elsewhere: batches are done when they have been asked for three times."""

    def __init__(self) -> None:
        self.driver_calls: Counter[str] = Counter()
        self.submitted: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.strays: list[str] = []
        self.unreachable: dict[str, int] = {}
        """How many more calls to an address break."""
        self.gone: set[str] = set()

    def find(self, actor_id: str) -> None:
        return None

    def call_driver(self, target: str, payload: bytes, callback: Settle) -> None:
        self.driver_calls[target] += 1
        request = decode(payload)
        if isinstance(request, ChooseEngine):
            answer: object = EngineChosen("pool/0")
        elif isinstance(request, CheckActor):
            answer = ActorPresence(request.actor_id not in self.gone)
        else:
            assert isinstance(request, FindActor)
            failed = {actor_id for actor_id, _ in request.failed} | self.gone
            actor_id = next(name for name in ("pool/0", "pool/1", "pool/2") if name not in failed)
            answer = ActorRoute(actor_id, 1, "worker-9", actor_id)
        callback(encode(answer), None)

    def call_peer(self, address: str, actor_id: str, payload: bytes, callback: Settle) -> None:
        if self.unreachable.get(address, 0) > 0:
            self.unreachable[address] -= 1
            callback(None, "the connection broke")
            return
        call: ActorCall = decode_message(bytearray(payload))
        method, ticket = call.method, call.arguments[0]
        result: object = None
        if method == "submit":
            self.submitted[ticket] = address
        elif method == "collect":
            if self.submitted.get(ticket) != address:
                self.strays.append(ticket)
            self.asked[ticket] += 1
            result = (True, ["done"] if self.asked[ticket] == 3 else None)
        callback(bytes(join_message(encode_message(Answer("value", result)))), None)

    async def generate(self, batches: int = 1) -> None:
        set_current_worker(self)
        actor_calls.set_current_host(self, self)  # type: ignore[arg-type]
        outputs = await asyncio.gather(*(generate(EnginePool("pool"), None, ["a"]) for _ in range(batches)))
        assert outputs == [["done"]] * batches


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> RemoteEngines:
    monkeypatch.setattr(llm_executor, "_FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(actor_calls, "_FIRST_PAUSE_SECONDS", 0.0)
    return RemoteEngines()


def test_the_driver_is_not_asked_each_time_that_a_task_asks_whether_its_batch_is_done(engines: RemoteEngines) -> None:
    asyncio.run(engines.generate(1_000))
    assert sum(engines.asked.values()) == 3_000
    assert engines.driver_calls == {"ChooseEngine": 1_000, "FindActor": 1_000}


def test_a_batch_is_asked_for_where_it_is_though_a_connection_breaks(engines: RemoteEngines) -> None:
    async def play() -> None:
        work = asyncio.ensure_future(engines.generate())
        while not engines.asked:
            await asyncio.sleep(0)
        engines.unreachable["pool/0"] = 3
        await work

    asyncio.run(asyncio.wait_for(play(), 20))
    assert list(engines.submitted.values()) == ["pool/0"]
    assert engines.strays == []
    assert engines.driver_calls["CheckActor"] == 3


@pytest.mark.parametrize("gone", [True, False])
def test_a_batch_of_an_engine_that_is_gone_or_stays_unreachable_is_given_to_another(
    engines: RemoteEngines, gone: bool
) -> None:
    async def play() -> None:
        work = asyncio.ensure_future(engines.generate())
        while not engines.asked:
            await asyncio.sleep(0)
        engines.unreachable["pool/0"] = 10**9
        if gone:
            engines.gone.add("pool/0")
        await work

    asyncio.run(asyncio.wait_for(play(), 20))
    assert list(engines.submitted.values()) == ["pool/0", "pool/1"]
    assert engines.strays == []
    assert engines.driver_calls["CheckActor"] == (1 if gone else actor_calls.MAX_TRIES_THERE - 1)
