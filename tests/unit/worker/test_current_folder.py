"""The current folder of a worker, which tasks share or wait for. Not covered: tasks (tests/local/test_paths.py)."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from daft_k8s.worker.current_folder import CurrentFolder, enter_folder


@pytest.fixture(autouse=True)
def stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def folders(root: Path, count: int) -> list[str]:
    paths = [root / str(number) for number in range(count)]
    for path in paths:
        path.mkdir()
    return [str(path) for path in paths]


async def until_idle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_each_task_runs_in_its_folder_whatever_the_order(tmp_path: Path) -> None:
    names = folders(tmp_path, 3)
    draws = random.Random(7)

    async def scenario() -> int:
        current = CurrentFolder()
        together = most = 0

        async def task(folder: str) -> None:
            nonlocal together, most
            async with current.held(folder):
                together += 1
                most = max(most, together)
                for _ in range(draws.randrange(4)):
                    assert os.getcwd() == folder
                    await asyncio.sleep(0)
                assert os.getcwd() == folder
                together -= 1

        tasks = [asyncio.ensure_future(task(draws.choice(names))) for _ in range(300)]
        for cancelled in draws.sample(tasks, 60):
            await asyncio.sleep(0)
            cancelled.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} <= {type(None), asyncio.CancelledError}
        async with current.held(names[0]):
            assert os.getcwd() == names[0]
        return most

    assert asyncio.run(asyncio.wait_for(scenario(), 20)) > 1


def test_a_task_that_waits_for_its_folder_goes_before_those_that_came_later(tmp_path: Path) -> None:
    here, there = folders(tmp_path, 2)

    async def scenario() -> list[str]:
        current, order = CurrentFolder(), []
        leave = asyncio.Event()

        async def task(name: str, folder: str) -> None:
            async with current.held(folder):
                order.append(name)
                await leave.wait()

        tasks = [asyncio.ensure_future(task(*given)) for given in (("a", here), ("b", there), ("c", here))]
        await until_idle()
        assert order == ["a"]
        leave.set()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()) == ["a", "b", "c"]


def test_a_folder_that_code_of_a_user_has_left_is_entered_again(tmp_path: Path) -> None:
    here, there = folders(tmp_path, 2)

    async def scenario() -> None:
        current = CurrentFolder()
        async with current.held(here):
            os.chdir(there)
        async with current.held(None):
            assert os.getcwd() == there  # any will do
        async with current.held(here):
            assert os.getcwd() == here

    asyncio.run(scenario())


@pytest.mark.parametrize("folder", ["", "/no/such/folder"])
def test_in_a_folder_that_is_gone_no_relative_path_leads_anywhere(folder: str, tmp_path: Path) -> None:
    Path("here").write_text("of another folder")
    enter_folder(folder)
    for path in ("here", "new"):
        with pytest.raises(FileNotFoundError):
            open(path, "w" if path == "new" else "r").close()


def test_a_folder_that_cannot_be_entered_fails_the_task_that_wants_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, broken, last = folders(tmp_path, 3)

    def enter(folder: str) -> None:
        if folder == broken:
            raise OSError("no space left on device")
        enter_folder(folder)

    monkeypatch.setattr("daft_k8s.worker.current_folder.enter_folder", enter)

    async def scenario() -> list[str | None]:
        current = CurrentFolder()
        leave = asyncio.Event()

        async def task(folder: str) -> str:
            async with current.held(folder):
                if folder == first:
                    await leave.wait()
                return Path.cwd().name

        tasks = [asyncio.ensure_future(task(folder)) for folder in (first, broken, last)]
        await until_idle()
        leave.set()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        return [end if isinstance(end, str) else type(end).__name__ for end in ends]

    assert asyncio.run(scenario()) == ["0", "OSError", "2"]
