"""Code on a worker: found or fetched, once for each content; what a missing module is told about.

Not covered: the connection (tests/local/test_code.py).
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.code.bundle import CodeBundle, make_bundle
from daft_k8s.code.selection import select_files
from daft_k8s.errors import CodeError
from daft_k8s.handles.driver_calls import DriverCallError
from daft_k8s.wire.calls import CodeChunk, CodeManifest, FetchCodeManifest
from daft_k8s.wire.code_reference import CodeReference
from daft_k8s.worker.code import WorkerCode

MIB = 2**20


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("DAFT_WORKING_DIR", "")
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("shipped_")]:
        del sys.modules[name]


class Driver:
    """Answers like the seam's shipment."""

    def __init__(self, bundle: CodeBundle) -> None:
        self.bundle = bundle
        self.calls: list[Any] = []
        self.failures = 0

    async def __call__(self, request: Any) -> Any:
        await asyncio.sleep(0)
        self.calls.append(request)
        if self.failures:
            self.failures -= 1
            raise DriverCallError("the stream broke")
        assert request.digest == self.bundle.digest
        if isinstance(request, FetchCodeManifest):
            return CodeManifest(self.bundle.manifest)
        return CodeChunk(self.bundle.chunk(request.offset))


def project(root: Path, module: str, content: str = "X = 1\n") -> CodeBundle:
    root.mkdir(exist_ok=True)
    (root / f"{module}.py").write_text(content)
    (root / "noise").write_bytes(os.urandom(MIB - 4096))
    return make_bundle(
        str(root), select_files(str(root), modules_only=False, size_limit_bytes=MIB), size_limit_bytes=MIB
    )


def elsewhere(bundle: CodeBundle, *, is_working_dir: bool = False) -> CodeReference:
    return dataclasses.replace(bundle.reference(is_working_dir=is_working_dir), root="/not/on/this/machine")


def test_code_is_fetched_once_for_all_tasks_and_can_be_imported(tmp_path: Path) -> None:
    driver = Driver(project(tmp_path / "p", "shipped_one"))
    code = WorkerCode(str(tmp_path / "code"), driver)

    async def tasks() -> None:
        await asyncio.gather(*(code.ensure(elsewhere(driver.bundle)) for _ in range(5)))

    asyncio.run(tasks())
    assert importlib.import_module("shipped_one").X == 1
    assert len(driver.calls) == len(set(driver.calls)) == 1 + 2  # the manifest, and two chunks
    assert os.environ["PYTHONPATH"] == "/elsewhere"  # what other programs of UDFs see is the user's
    assert os.listdir(tmp_path / "code") == [os.path.basename(sys.path[0])]


def test_code_that_is_here_already_is_used_where_it_is(tmp_path: Path) -> None:
    driver = Driver(project(tmp_path / "p", "shipped_two"))
    asyncio.run(WorkerCode(str(tmp_path / "code"), driver).ensure(driver.bundle.reference(is_working_dir=False)))
    assert sys.path[0] == str(tmp_path / "p")
    assert len(driver.calls) == 1
    assert not (tmp_path / "code").exists()


def test_code_on_the_drivers_own_disk_is_copied_as_it_may_change_there(tmp_path: Path) -> None:
    driver = Driver(project(tmp_path / "p", "shipped_six"))
    reference = driver.bundle.reference(is_working_dir=True, in_place=False)
    asyncio.run(WorkerCode(str(tmp_path / "code"), driver).ensure(reference))
    assert Path(sys.path[0]).parent == tmp_path / "code"


def test_other_code_in_the_same_place_is_not_used(tmp_path: Path) -> None:
    driver = Driver(project(tmp_path / "p", "shipped_three", "X = 3\n"))
    (tmp_path / "p" / "shipped_three.py").write_text("X = 4\n")
    asyncio.run(WorkerCode(str(tmp_path / "code"), driver).ensure(driver.bundle.reference(is_working_dir=False)))
    assert importlib.import_module("shipped_three").X == 3


def test_the_copy_of_a_working_dir_is_named_to_tasks_and_to_their_code(tmp_path: Path) -> None:
    driver = Driver(project(tmp_path / "p", "shipped_four"))
    code = WorkerCode(str(tmp_path / "code"), driver)
    copy = asyncio.run(code.ensure(elsewhere(driver.bundle, is_working_dir=True)))
    assert copy is not None and copy == os.environ["DAFT_WORKING_DIR"]
    assert (Path(copy) / "noise").stat().st_size == MIB - 4096
    assert Path.cwd() == tmp_path  # which folder is the current one, is a matter of each task


def test_a_failed_fetch_is_an_error_and_the_next_task_tries_again(tmp_path: Path) -> None:
    driver = Driver(project(tmp_path / "p", "shipped_five"))
    driver.failures = 1
    code = WorkerCode(str(tmp_path / "code"), driver)

    async def tasks() -> None:
        with pytest.raises(CodeError, match="did not arrive: the stream broke"):
            await code.ensure(elsewhere(driver.bundle))
        await code.ensure(elsewhere(driver.bundle))

    asyncio.run(tasks())
    assert importlib.import_module("shipped_five").X == 1


def test_code_that_cannot_be_unpacked_leaves_nothing_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(project(tmp_path / "p", "shipped_half"))

    def unpack_half(archive: object, entries: object, folder: str) -> None:
        Path(folder, "half").write_bytes(b"x")
        raise CodeError("no space left on device")

    monkeypatch.setattr("daft_k8s.worker.code.unpack_bundle", unpack_half)
    with pytest.raises(CodeError, match="no space left"):
        asyncio.run(WorkerCode(str(tmp_path / "code"), driver).ensure(elsewhere(driver.bundle)))
    assert os.listdir(tmp_path / "code") == []


def test_a_task_that_is_cancelled_does_not_take_the_code_from_the_others(tmp_path: Path) -> None:
    driver = Driver(project(tmp_path / "p", "shipped_six"))
    code = WorkerCode(str(tmp_path / "code"), driver)

    async def tasks() -> None:
        first = asyncio.ensure_future(code.ensure(elsewhere(driver.bundle)))
        second = asyncio.ensure_future(code.ensure(elsewhere(driver.bundle)))
        await asyncio.sleep(0)
        first.cancel()
        await second

    asyncio.run(tasks())
    assert importlib.import_module("shipped_six").X == 1


def test_a_folder_of_the_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    code = WorkerCode(str(tmp_path / "code"), Driver(project(tmp_path / "p", "shipped_seven")))
    with pytest.raises(CodeError, match=r"local:///opt/none.*no such folder"):
        asyncio.run(code.ensure(CodeReference("", "/opt/none", 0, is_working_dir=True)))
