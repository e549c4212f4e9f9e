"""The folder in which a task runs: the driver's where workers see its disk, else that of `working_dir`.

Not covered: Daft's executor (tests/local/test_paths.py).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daft_k8s.wire.code_reference import CodeReference
from daft_k8s.wire.task_payload import encode_payload
from daft_k8s.worker.code import WorkerCode
from daft_k8s.worker.task_runner import TaskRunner
from tests.unit.worker.test_task_runner import COMMAND, TASK, Executor, Server


class Looks(Executor):
    """Notes the current folder, and fails."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.folders: list[str] = []

    async def start(self, request: Any, pipeline_id: int) -> Any:
        self.folders.append(os.getcwd())
        return await super().start(request, pipeline_id)


def run(payload: bytes, error: BaseException) -> tuple[list[str], str]:
    async def scenario() -> tuple[list[str], str]:
        server = Server()
        executor: Any = Looks(error)
        runner = TaskRunner(executor=executor, worker_id="worker-0", code=WorkerCode("unused"))
        runner.bind(server)
        runner.on_task(SimpleNamespace(**{**vars(COMMAND), "payload": payload}))  # type: ignore[arg-type]
        await asyncio.wait_for(server.ended.wait(), 10)
        return executor.folders, server.ends[0][2]

    return asyncio.run(scenario())


@pytest.mark.parametrize("sees_the_drivers_disk", [True, False])
def test_a_task_runs_in_the_drivers_folder_or_in_that_of_working_dir(
    sees_the_drivers_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAFT_WORKING_DIR", "")
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("elsewhere", "project", "drivers"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code = CodeReference("", str(tmp_path / "project"), 0, is_working_dir=True)
    folder = str(tmp_path / "drivers") if sees_the_drivers_disk else None
    folders, _ = run(encode_payload(TASK, code, folder=folder), ValueError("no"))
    assert folders == [str(tmp_path / ("drivers" if sees_the_drivers_disk else "project"))]


def test_a_task_without_either_runs_where_the_worker_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(encode_payload(TASK), ValueError("no"))[0] == [str(tmp_path)]


def test_a_missing_file_is_explained_where_the_disk_is_not_the_drivers(tmp_path: Path) -> None:
    missing = FileNotFoundError("/data/x is not there")
    assert "the path is looked up in the Pod of worker-0" in run(encode_payload(TASK), missing)[1]
    assert "looked up in the Pod" not in run(encode_payload(TASK, folder=str(tmp_path)), missing)[1]
    assert "looked up in the Pod" not in run(encode_payload(TASK), ValueError("no"))[1]
