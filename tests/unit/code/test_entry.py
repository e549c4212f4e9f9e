"""The start of a driver's container whose code came along in parts. That the parts fit a Secret: tests/unit/jobs."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from daft_k8s.code import entry
from daft_k8s.code.bundle import make_bundle
from daft_k8s.code.selection import select_files
from daft_k8s.errors import CodeError

MIB = 2**20


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A script's code, cut after every 50 bytes."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "job.py").write_text("print(1)\n")
    files = select_files(str(code), modules_only=False, size_limit_bytes=MIB)
    bundle = make_bundle(str(code), files, size_limit_bytes=MIB)
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "digest").write_text(f"{bundle.digest}\n")
    for name, content in (("manifest", bundle.manifest), ("archive", bundle.archive)):
        for number, offset in enumerate(range(0, len(content), 50)):
            (folder / f"{name}-{number:03}").write_bytes(content[offset : offset + 50])
    return folder


def test_the_parts_are_put_together_and_unpacked(parts: Path, tmp_path: Path) -> None:
    assert len(list(parts.glob("archive-*"))) > 1
    entry.unpack_parts(parts, tmp_path / "target")
    assert (tmp_path / "target" / "job.py").read_text() == "print(1)\n"


def test_a_part_that_is_missing_is_an_error_of_code(parts: Path, tmp_path: Path) -> None:
    (parts / "manifest-000").unlink()
    with pytest.raises(CodeError, match="damaged"):
        entry.unpack_parts(parts, tmp_path / "target")
    (parts / "digest").unlink()
    with pytest.raises(CodeError, match=r"^the driver's code cannot be read: .*digest"):
        entry.unpack_parts(parts, tmp_path / "target")


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[object]:
    """The program that the process became, and its folder then."""
    found: list[object] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(entry, "stand_before", lambda: None)
    monkeypatch.setattr(os, "execv", lambda path, program: found.extend((path, program, os.getcwd())))
    return found


def test_the_process_becomes_the_program_in_the_folder_with_its_code(
    parts: Path, tmp_path: Path, executed: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    monkeypatch.setattr(sys, "argv", ["entry", str(parts), str(target), "job.py", "--day", "1"])
    entry.main()
    assert executed == [sys.executable, [sys.executable, "job.py", "--day", "1"], str(target)]


def test_code_that_arrived_damaged_is_told_and_the_program_is_not_run(
    parts: Path,
    tmp_path: Path,
    executed: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (parts / "digest").write_text(hashlib.sha256(b"other").hexdigest())
    monkeypatch.setattr(sys, "argv", ["entry", str(parts), str(tmp_path / "target"), "job.py"])
    assert entry.main() == 3
    assert capsys.readouterr().err.startswith("error: the list of the driver's code arrived damaged")
    assert executed == []


def test_a_process_that_only_stands_before_the_program_ends_with_its_exit_code(
    parts: Path, tmp_path: Path, executed: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "stand_before", lambda: 7)
    assert entry.main() == 7
    assert executed == []
