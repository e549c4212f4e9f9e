"""What a session ships, by its configuration.

Not covered: which files of a folder (tests/unit/code), the way to the workers (tests/local/test_code.py).
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
from pathlib import Path
from typing import Any

import daft
import pytest

from daft_k8s.code.roots import ScriptFolder
from daft_k8s.config import Configuration, load
from daft_k8s.errors import CodeError, ConfigurationError
from daft_k8s.seam import code_shipment
from daft_k8s.seam.code_shipment import CodeShipment, prepare_code
from daft_k8s.wire.calls import FetchCodeChunk, FetchCodeManifest

MEBI = 2**20


def prepare(**options: Any) -> CodeShipment:
    return prepare_code(Configuration(**options))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "main.py").write_text("import helpers\n")
    (root / "data.csv").write_text("a,b\n")
    monkeypatch.setattr(code_shipment, "script_folder", lambda: ScriptFolder(str(root), shallow=False))
    return root


def test_pods_get_the_scripts_modules_and_one_line_says_so(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "daft_k8s"):
        shipment = prepare(allocation="pod")
    assert shipment.reference is not None
    assert shipment.reference.root == str(project) and not shipment.reference.is_working_dir
    manifest = shipment.manifest("worker-0", FetchCodeManifest(shipment.reference.digest)).data
    assert hashlib.sha256(manifest).hexdigest() == shipment.reference.digest
    assert b"main.py" in manifest and b"data.csv" not in manifest
    archive = shipment.chunk("worker-0", FetchCodeChunk(shipment.reference.digest, 0)).data
    assert len(archive) == shipment.reference.archive_bytes
    (record,) = caplog.records
    assert record.getMessage() == f"ships 1 modules (0 KiB) of {project} to workers that lack them"


def test_local_workers_get_nothing_unless_a_working_dir_is_set(project: Path) -> None:
    assert prepare(allocation="local").reference is None
    shipment = prepare(allocation="local", working_dir=str(project))
    assert shipment.reference is not None and shipment.reference.is_working_dir
    assert not shipment.reference.in_place
    in_pods = prepare(allocation="pod", working_dir=str(project)).reference
    assert in_pods is not None and in_pods.in_place


def test_none_ships_nothing_and_so_does_an_installed_program(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare(allocation="pod", working_dir="none").reference is None
    monkeypatch.setattr(code_shipment, "script_folder", lambda: None)
    assert prepare(allocation="pod").reference is None


def test_a_folder_of_the_image_is_only_named(project: Path) -> None:
    reference = prepare(allocation="pod", working_dir="local:///opt/app").reference
    assert reference is not None
    assert (reference.digest, reference.root, reference.archive_bytes) == ("", "/opt/app", 0)


def test_an_archive_is_shipped_as_what_is_in_it(project: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        for file in project.iterdir():
            archive.write(file, file.name)
    packed = prepare(allocation="pod", working_dir=str(tmp_path / "code.zip")).reference
    plain = prepare(allocation="pod", working_dir=str(project)).reference
    assert packed is not None and plain is not None
    assert packed.digest == plain.digest


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match="none is neither a folder nor an archive"):
        prepare(allocation="pod", working_dir=str(tmp_path / "none"))
    with pytest.raises(CodeError, match=r"file:///none/code\.zip cannot be read"):
        code_shipment._download("file:///none/code.zip", str(tmp_path / "x"), MEBI)


def test_a_remote_archive_is_read_with_dafts_own_readers(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x" * MEBI)
    code_shipment._download(f"file://{tmp_path}/source", str(tmp_path / "target"), MEBI)
    assert (tmp_path / "target").stat().st_size == MEBI
    with pytest.raises(CodeError, match=r"code_size_limit allows \(1024\)"):
        code_shipment._download(f"file://{tmp_path}/source", str(tmp_path / "target"), 1024)


@pytest.mark.parametrize(("told_bytes", "written_bytes"), [(MEBI, None), (10, 1001)], ids=["honest", "understated"])
def test_no_more_of_a_remote_archive_is_kept_than_the_limit_and_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told_bytes: int, written_bytes: int | None
) -> None:
    (tmp_path / "source").write_bytes(b"x" * MEBI)
    monkeypatch.setattr(daft.File, "size", lambda self: told_bytes)
    target = tmp_path / "target"
    with pytest.raises(CodeError, match="more bytes than code_size_limit allows"):
        code_shipment._download(f"file://{tmp_path}/source", str(target), 1000)
    assert (target.stat().st_size if target.exists() else None) == written_bytes


def test_a_remote_archive_with_another_digest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"code")
    uri, digest = f"file://{tmp_path}/source", hashlib.sha256(b"code").hexdigest()
    code_shipment._download(f"{uri}#sha256={digest.upper()}", str(tmp_path / "target"), MEBI)
    assert (tmp_path / "target").read_bytes() == b"code"
    with pytest.raises(CodeError, match=f"another digest: {digest}"):
        code_shipment._download(f"{uri}#sha256={'0' * 64}", str(tmp_path / "other"), MEBI)
    with pytest.raises(CodeError, match="64 hex digits"):
        code_shipment._download(f"{uri}#sha256=0", str(tmp_path / "other"), MEBI)


def test_plain_http_is_refused_without_a_digest() -> None:
    with pytest.raises(CodeError, match="comes over plain HTTP"):
        prepare(allocation="pod", working_dir="http://127.0.0.1:9/code.zip")
    named = f"http://127.0.0.1:9/code.zip#sha256={'A' * 64}"
    assert code_shipment._split_digest(named) == ("http://127.0.0.1:9/code.zip", "a" * 64)


def test_code_above_the_limit_starts_nothing(project: Path) -> None:
    (project / "large.py").write_bytes(b"#" * 4096)
    with pytest.raises(CodeError, match="code_size_limit"):
        prepare(allocation="pod", code_size_limit_bytes=4096)


def test_a_relative_folder_starts_at_the_file_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "daft.toml"
    file.write_text('working_dir = "src"\npip = ["emoji>=2,<3", "numpy"]\n')
    configuration = load({"config_file": str(file)})
    assert configuration.working_dir == str(tmp_path / "src")
    assert configuration.pip == ("emoji>=2,<3", "numpy")


@pytest.mark.parametrize(
    "options", [{"working_dir": "ftp://host/code.zip"}, {"working_dir": "local://relative"}, {"pip": ["--pre"]}]
)
def test_mistakes_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        load(options)


def test_an_unknown_digest_is_refused(project: Path) -> None:
    with pytest.raises(LookupError, match="no code"):
        prepare(allocation="pod").manifest("worker-0", FetchCodeManifest("0" * 64))
