"""A task's end of vLLM engines, which do what a test says; and one engine, with a module in the place of vLLM."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daft.recordbatch import RecordBatch

from daft_k8s.errors import ActorError, DaftK8sError
from daft_k8s.seam.llm import LLMActors
from daft_k8s.worker import llm_engine, llm_executor
from daft_k8s.worker.llm_engine import LLMEngine
from daft_k8s.worker.llm_executor import MAX_SUBMISSIONS, PromptExecutor, generate

FAKE = Path(__file__).parents[2] / "local" / "fake_vllm"
SECONDS = 20.0


class FakeEngines:
    """Stands in for `EnginePool` and its one engine, which answers after so many questions, or loses its batches."""

    actor_id = "pool/0"

    def __init__(self, *, questions: int = 1, losses: int = 0) -> None:
        self.questions, self.losses = questions, losses
        self.chosen: list[tuple[str | None, int]] = []
        self.calls: list[str] = []
        self.prompts: dict[str, list[str]] = {}
        self.asked: dict[str, int] = {}

    async def choose(self, prefix: str | None, num_prompts: int) -> FakeEngines:
        self.chosen.append((prefix, num_prompts))
        return self

    async def call_and_stay(self, method: str, ticket: str, *arguments: Any) -> tuple[Any, FakeEngines]:
        return await self.call(method, ticket, *arguments), self

    async def call_once(self, method: str, ticket: str) -> Any:
        return await self.call(method, ticket)

    async def call(self, method: str, ticket: str, *arguments: Any) -> Any:
        self.calls.append(method)
        if method == "submit":
            (self.prompts[ticket],) = arguments
            if len(self.prompts) <= self.losses:
                del self.prompts[ticket]
                self.losses -= 1
            return None
        if method == "forget":
            return self.prompts.pop(ticket, None)
        if ticket not in self.prompts:
            return False, None
        self.asked[ticket] = self.asked.get(ticket, 0) + 1
        if self.asked[ticket] < self.questions:
            return True, None
        return True, [f"{prompt}!" for prompt in self.prompts.pop(ticket)]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_executor, "_FIRST_PAUSE_SECONDS", 0.0)


def test_a_batch_is_asked_for_until_it_is_done() -> None:
    engines = FakeEngines(questions=4)
    assert asyncio.run(generate(engines, "x", ["a", "b"])) == ["a!", "b!"]  # type: ignore[arg-type]
    assert engines.calls == ["submit", *["collect"] * 4]
    assert engines.chosen == [("x", 2)]


def test_a_batch_that_an_engine_has_lost_is_given_out_again() -> None:
    engines = FakeEngines(losses=2)
    assert asyncio.run(generate(engines, None, ["a"])) == ["a!"]  # type: ignore[arg-type]
    assert engines.calls.count("submit") == 3


def test_a_batch_that_is_lost_again_and_again_fails() -> None:
    engines = FakeEngines(losses=99)
    with pytest.raises(ActorError, match=r"a batch of 1 prompts was given to 5 vLLM engines in turn.* pool/0;"):
        asyncio.run(generate(engines, None, ["a"]))  # type: ignore[arg-type]
    assert engines.calls.count("submit") == MAX_SUBMISSIONS


def test_a_batch_that_nobody_wants_any_more_is_ended_at_the_engine() -> None:
    engines = FakeEngines(questions=10**9)

    async def cancel() -> None:
        work = asyncio.ensure_future(generate(engines, None, ["a"]))  # type: ignore[arg-type]
        while "collect" not in engines.calls:
            await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(cancel())
    assert engines.calls[-1] == "forget"
    assert engines.prompts == {}


def test_all_that_daft_calls_on_ray_is_there() -> None:
    vllm = importlib.import_module("daft.execution.vllm")
    assert vllm.VLLMExecutor.__abstractmethods__ <= set(dir(PromptExecutor))
    source = inspect.getsource(vllm)
    (theirs,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "LLMActors"]
    (init,) = [node for node in theirs.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    assert [argument.arg for argument in init.args.args] == list(inspect.signature(LLMActors.__init__).parameters)


def test_rows_come_back_with_the_answers_to_their_own_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(llm_executor, "run_in_worker", lambda work: asyncio.run_coroutine_threadsafe(work, loop))
        executor = PromptExecutor(FakeEngines(questions=2))  # type: ignore[arg-type]
        assert executor.poll() is None
        executor.submit("x", ["a", "b"], RecordBatch.from_pydict({"id": [1, 2]}))
        executor.submit(None, [], RecordBatch.from_pydict({"id": []}))
        executor.submit(None, ["c"], RecordBatch.from_pydict({"id": [3]}))
        assert executor.poll() is None
        executor.finished_submitting()
        found: dict[int, str] = {}
        while not executor.all_tasks_finished():
            await asyncio.sleep(0)
            outputs, rows = executor.poll() or ([], RecordBatch.from_pydict({"id": []}))
            found.update(zip(rows.to_pydict()["id"], outputs, strict=True))
        assert found == {1: "a!", 2: "b!", 3: "c!"}

    asyncio.run(asyncio.wait_for(play(), SECONDS))


def test_prompts_outside_of_a_worker_are_refused() -> None:
    with pytest.raises(DaftK8sError, match="in a daft_k8s worker process only"):
        PromptExecutor(FakeEngines()).submit(None, ["a"], RecordBatch.from_pydict({"id": [1]}))  # type: ignore[arg-type]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LLMEngine]:
    with made_engine(monkeypatch, tmp_path, hold="wait") as engine:
        yield engine


@contextlib.contextmanager
def made_engine(
    monkeypatch: pytest.MonkeyPatch, folder: Path, clock: Callable[[], float] = time.monotonic, **arguments: str
) -> Iterator[LLMEngine]:
    monkeypatch.syspath_prepend(str(FAKE))
    engine = LLMEngine("small", {"folder": str(folder), **arguments}, {}, clock)
    yield engine
    loop = engine._loop  # its process ends otherwise, and with it all threads
    loop.call_soon_threadsafe(loop.stop)
    wait_until(lambda: not loop.is_running())
    loop.close()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def collect(engine: LLMEngine, ticket: str) -> tuple[bool, list[str] | None]:
    end = time.monotonic() + SECONDS
    while (answer := engine.collect(ticket)) == (True, None):
        assert time.monotonic() < end
        time.sleep(0.01)
    return answer


def test_batches_run_side_by_side_in_one_engine(engine: LLMEngine, tmp_path: Path) -> None:
    engine.submit("slow", ["wait", "a"])
    engine.submit("fast", ["b"])
    assert collect(engine, "fast") == (True, ["b!"])
    assert engine.collect("slow") == (True, None)
    (tmp_path / "open").touch()
    assert collect(engine, "slow") == (True, ["wait!", "a!"])
    assert engine.collect("slow") == (False, None), "it is forgotten"


def test_a_batch_that_is_submitted_again_goes_on(engine: LLMEngine, tmp_path: Path) -> None:
    engine.submit("one", ["a"])
    engine.submit("one", ["a"])
    assert collect(engine, "one") == (True, ["a!"])
    assert next(tmp_path.glob("engine-*")).read_text() == "a\n"


def test_what_vllm_raises_for_a_prompt_is_raised_for_its_batch_alone(engine: LLMEngine) -> None:
    engine.submit("bad", ["a", "bad"])
    engine.submit("good", ["a"])
    with pytest.raises(ValueError, match="takes no such prompt"):
        collect(engine, "bad")
    assert collect(engine, "good") == (True, ["a!"])


def test_a_batch_that_nobody_has_asked_for_in_a_minute_is_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = 0.0

    def wait_for_prompts(count: int) -> None:
        (prompts,) = tmp_path.glob("engine-*")
        wait_until(lambda: len(prompts.read_text().splitlines()) == count)

    with made_engine(monkeypatch, tmp_path, lambda: now, hold="wait") as engine:
        engine.submit("left", ["wait"])
        engine.submit("asked for", ["wait"])
        wait_for_prompts(2)
        now = 50.0
        assert engine.collect("asked for") == (True, None)
        now = 100.0
        assert engine.collect("asked for") == (True, None)
        assert engine.collect("left") == (False, None)
        now = 140.0
        engine.submit("another", ["wait"])
        wait_for_prompts(3)
        assert engine.collect("asked for") == (True, None)
        for ticket in ("asked for", "another"):
            engine.forget(ticket)
        wait_until(lambda: not asyncio.all_tasks(engine._loop))


def test_an_engine_that_has_died_ends_its_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended: list[int] = []
    monkeypatch.setattr(llm_engine, "_end_process", lambda: ended.append(1))
    for number, named in enumerate((True, False)):
        with made_engine(monkeypatch, tmp_path, deadly="deadly") as engine:
            (tmp_path / "dead").unlink(missing_ok=True)
            if not named:  # what it raises has another name
                monkeypatch.setattr(importlib.import_module("vllm"), "EngineDeadError", OSError)
            engine.submit("one", ["deadly"])
            wait_until(lambda number=number: len(ended) == number + 1)


def test_a_batch_that_is_forgotten_ends(engine: LLMEngine, tmp_path: Path) -> None:
    engine.submit("slow", ["wait"])
    wait_until((tmp_path / "held").exists)
    engine.forget("slow")
    assert engine.collect("slow") == (False, None)
    wait_until(lambda: not asyncio.all_tasks(engine._loop))
    engine.forget("unknown")
