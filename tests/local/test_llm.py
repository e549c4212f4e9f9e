"""Daft's vLLM provider on real workers, with a module in the place of vLLM: engines, their prompts, and their deaths.

Not covered: vLLM itself, GPUs.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tests.local.remote_driver import RemoteDriver, poll, send_signal
from tests.local.test_actors import assert_none_left

FAKE = Path(__file__).parent / "fake_vllm"
TOPICS, ROWS = 10, 400

BEFORE = """
import os, sys
path = os.pathsep.join([{fake!r}, os.environ.get("PYTHONPATH", "")])
os.environ["PYTHONPATH"] = path
sys.path.insert(0, {fake!r})
"""
QUERY = """
from daft.functions import prompt
os.makedirs({folder!r}, exist_ok=True)
text = [f"topic {{number % {topics}}} of all that there are: question {{number:03}}" for number in range({rows})]
texts = daft.from_pydict({{"id": list(range({rows})), "text": {texts}}}).into_partitions(8)
answers = prompt(
    col("text"), provider="vllm-prefix-caching", model="small", concurrency=2, gpus_per_actor=0, min_bucket_size=4,
    max_buffer_size={buffer}, do_prefix_routing={routing}, load_balance_threshold=1000,
    engine_args={{"folder": {folder!r}, "hold": {hold!r}, "deadly": {deadly!r}}}, generate_args={{}},
)
rows = texts.with_column("answer", answers).sort("id").to_pydict()
answer = [list(pair) for pair in zip(rows["text"], rows["answer"])]
"""


def query(
    folder: Path,
    *,
    hold: str = "",
    deadly: str = "",
    routing: bool = True,
    buffer: int = 20,
    texts: str = "text",
    rows: int = ROWS,
) -> str:
    return QUERY.format(
        folder=str(folder),
        topics=TOPICS,
        rows=rows,
        hold=hold,
        deadly=deadly,
        routing=routing,
        buffer=buffer,
        texts=texts,
    )


def driver(folder: Path, **options: Any) -> RemoteDriver:
    return RemoteDriver(folder, before=BEFORE.format(fake=str(FAKE)), **options)


def prompts_of(folder: Path) -> list[list[str]]:
    """The prompts that each engine got."""
    return [path.read_text().splitlines() for path in folder.glob("engine-*")]


def right() -> list[list[str]]:
    texts = [f"topic {number % TOPICS} of all that there are: question {number:03}" for number in range(ROWS)]
    return [[text, f"{text}!"] for text in texts]


def test_each_row_gets_the_answer_to_its_own_prompt_from_engines_that_are_made_once(tmp_path: Path) -> None:
    with driver(tmp_path) as remote:
        for routing in (True, False):
            folder = tmp_path / f"engines-{routing}"
            assert remote.run(query(folder, routing=routing)) == right()
            got = prompts_of(folder)
            assert len(got) == 2
            assert sorted(prompt for prompts in got for prompt in prompts) == sorted(text for text, _ in right())
            assert min(map(len, got)) > 0, "one engine got everything"
        assert_none_left(remote)


def test_an_engine_that_dies_costs_its_batches_another_try_and_no_row(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    with driver(tmp_path) as remote:
        held = right()[7][0]
        remote.send(query(folder, hold=held))
        poll(lambda: (folder / "held").exists(), 40, "no prompt is held")
        send_signal(int((folder / "held").read_text()), signal.SIGKILL)
        (folder / "open").touch()
        reply = remote.reply()
        assert (reply.answer, reply.error) == (right(), None), reply
        assert sum(prompts.count(held) for prompts in prompts_of(folder)) == 2
        assert_none_left(remote)


def test_an_engine_that_dies_and_leaves_its_actor_alive_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    with driver(tmp_path) as remote:
        deadly = right()[7][0]
        remote.send(query(folder, deadly=deadly))
        reply = remote.reply()
        assert (reply.answer, reply.error) == (right(), None), reply
        assert len(prompts_of(folder)) == 3
        assert sum(prompts.count(deadly) for prompts in prompts_of(folder)) == 2
        assert_none_left(remote)


LIMITED = """
@daft.func
def after_the_limit(number: int) -> int:
    import glob, time
    end = time.monotonic() + 4
    while number % 125 == 0 and time.monotonic() < end and len(glob.glob({folder!r} + "/engine-*")) < 2:
        time.sleep(0.05)
    return number

limited = texts.with_column("answer", answers).where(col("answer") != "").limit(250).repartition(2)
rows = limited.with_column("id", after_the_limit(col("id"))).to_pydict()
answer = len(rows["answer"])
"""


def test_engines_that_a_limit_has_made_needless_do_not_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    with driver(tmp_path) as remote:
        step = query(folder, hold=right()[0][0], routing=False).partition("rows = ")[0]
        step = step.replace("concurrency=2", "concurrency=1") + LIMITED.format(folder=str(folder))
        assert remote.run(step) == 250
        assert (folder / "held").exists()
        assert len(prompts_of(folder)) == 1
        assert_none_left(remote)


def test_a_prompt_that_vllm_refuses_fails_the_query_with_its_words(tmp_path: Path) -> None:
    with driver(tmp_path) as remote:
        remote.send(query(tmp_path / "engines", texts="['good', 'bad']", rows=2))
        reply = remote.reply()
        assert "this model takes no such prompt" in reply.text, reply
        assert_none_left(remote)


def test_workers_without_vllm_fail_the_query_with_what_is_missing(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as remote:
        remote.send(query(tmp_path / "engines"))
        reply = remote.reply()
        assert "No module named 'vllm'" in reply.text, reply
        assert "the vLLM model small could not be started: ModuleNotFoundError" in reply.text
        assert "pip=['vllm'] installs it" in reply.text
        assert_none_left(remote)


def test_engines_that_no_worker_could_hold_are_refused_with_the_sums(tmp_path: Path) -> None:
    with driver(tmp_path) as remote:
        remote.send(query(tmp_path / "engines").replace("gpus_per_actor=0", "gpus_per_actor=1"))
        reply = remote.reply()
        assert "each actor of the vLLM model small asks for 1 CPUs, 1 GPUs" in reply.text, reply
