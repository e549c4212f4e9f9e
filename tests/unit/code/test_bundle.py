"""Bundles: the same content has the same name, and what is unpacked is what was packed or an error."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from daft_k8s.code.bundle import CodeBundle, make_bundle
from daft_k8s.code.selection import is_safe_path, select_files
from daft_k8s.code.unpack import is_present, read_manifest, unpack_bundle
from daft_k8s.errors import CodeError
from daft_k8s.wire.code_reference import CHUNK_BYTES, CodeReference

MIB = 2**20


def bundle_of(root: Path) -> CodeBundle:
    files = select_files(str(root), modules_only=False, size_limit_bytes=MIB)
    return make_bundle(str(root), files, size_limit_bytes=MIB)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "a.py").write_text("X = 1\n")
    (root / "tool").write_bytes(bytes(range(256)))
    (root / "tool").chmod(0o755)
    return root


def test_a_bundle_is_named_by_its_content_alone(project: Path, tmp_path: Path) -> None:
    first = bundle_of(project)
    copy = project.rename(tmp_path / "elsewhere")
    (copy / "tool").touch()
    assert bundle_of(copy).digest == first.digest
    (copy / "pkg" / "a.py").write_text("X = 2\n")
    assert bundle_of(copy).digest != first.digest


def test_what_is_unpacked_is_what_was_packed(project: Path, tmp_path: Path) -> None:
    bundle = bundle_of(project)
    entries = read_manifest(bundle.manifest, bundle.digest)
    assert not is_present(str(tmp_path / "copy"), entries)
    unpack_bundle(io.BytesIO(bundle.archive), entries, str(tmp_path / "copy"))
    assert is_present(str(tmp_path / "copy"), entries)
    assert (tmp_path / "copy" / "tool").stat().st_mode & 0o111
    (tmp_path / "copy" / "pkg" / "a.py").write_text("X = 2\n")
    assert not is_present(str(tmp_path / "copy"), entries)


def test_the_chunks_are_the_archive(project: Path) -> None:
    (project / "noise").write_bytes(os.urandom(MIB - 4096))
    bundle = bundle_of(project)
    chunks = [bundle.chunk(offset) for offset in range(0, len(bundle.archive), CHUNK_BYTES)]
    assert len(chunks) > 1 and b"".join(chunks) == bundle.archive


def test_another_manifest_than_the_named_one_is_refused(project: Path) -> None:
    bundle = bundle_of(project)
    with pytest.raises(CodeError, match="damaged"):
        read_manifest(bundle.manifest.replace(b"tool", b"fool"), bundle.digest)


def test_an_archive_that_differs_from_its_manifest_is_refused(project: Path, tmp_path: Path) -> None:
    bundle = bundle_of(project)
    entries = read_manifest(bundle.manifest, bundle.digest)
    (project / "pkg" / "a.py").write_text("X = 2\n")
    other = bundle_of(project)
    with pytest.raises(CodeError, match=r"damaged: pkg/a\.py"):
        unpack_bundle(io.BytesIO(other.archive), entries, str(tmp_path / "one"))
    (project / "tool").unlink()
    (project / "pkg" / "a.py").write_text("X = 1\n")
    with pytest.raises(CodeError, match="without tool"):
        unpack_bundle(io.BytesIO(bundle_of(project).archive), entries, str(tmp_path / "two"))
    with pytest.raises(CodeError, match="cannot be unpacked"):
        unpack_bundle(io.BytesIO(bundle.archive[:50]), entries, str(tmp_path / "three"))


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a", "a/../../b", "a\\..\\b", "a\0b"])
def test_paths_that_lead_out_are_unsafe(path: str) -> None:
    assert not is_safe_path(path)


@pytest.mark.parametrize("path", ["a", "a/b.py", "..a/b..", "a/.b"])
def test_paths_that_stay_are_safe(path: str) -> None:
    assert is_safe_path(path)


def test_a_bundle_tells_its_folder_and_the_size_of_its_files(project: Path) -> None:
    bundle = bundle_of(project)
    assert (bundle.root, bundle.num_files, bundle.size_bytes) == (str(project), 2, 256 + 6)
    assert json.loads(bundle.manifest) == [
        ["pkg/a.py", hashlib.sha256(b"X = 1\n").hexdigest(), False],
        ["tool", hashlib.sha256(bytes(range(256))).hexdigest(), True],
    ]


def test_the_archive_is_the_same_bytes_each_time(project: Path) -> None:
    first = bundle_of(project)
    os.utime(project / "tool", (0, 0))
    assert bundle_of(project).archive == first.archive


@pytest.mark.parametrize(("deflate", "method"), [(True, zipfile.ZIP_DEFLATED), (False, zipfile.ZIP_STORED)])
def test_text_is_made_smaller_where_that_is_asked_for(project: Path, deflate: bool, method: int) -> None:
    files = select_files(str(project), modules_only=False, size_limit_bytes=MIB)
    bundle = make_bundle(str(project), files, size_limit_bytes=MIB, deflate=deflate)
    with zipfile.ZipFile(io.BytesIO(bundle.archive)) as archive:
        assert archive.getinfo("pkg/a.py").compress_type == method
        assert archive.getinfo("tool").compress_type == zipfile.ZIP_STORED


def test_files_may_grow_up_to_the_limit_while_they_are_read(project: Path) -> None:
    files = select_files(str(project), modules_only=False, size_limit_bytes=MIB)
    (project / "tool").write_bytes(bytes(1018))
    assert make_bundle(str(project), files, size_limit_bytes=1024).size_bytes == 1024
    (project / "tool").write_bytes(bytes(1019))
    with pytest.raises(CodeError, match=f"^{project}/tool grew while it was read, above code_size_limit; raise that$"):
        make_bundle(str(project), files, size_limit_bytes=1024)


def test_a_file_that_has_gone_meanwhile_is_an_error_of_code(project: Path) -> None:
    files = select_files(str(project), modules_only=False, size_limit_bytes=MIB)
    (project / "tool").unlink()
    with pytest.raises(CodeError, match=r"^the code to ship to the workers cannot be read: .*tool"):
        make_bundle(str(project), files, size_limit_bytes=MIB)


def test_a_reference_tells_where_the_code_came_from_and_how_large_it_is(project: Path) -> None:
    bundle = bundle_of(project)
    size = len(bundle.archive)
    assert bundle.reference(is_working_dir=True) == CodeReference(bundle.digest, str(project), size, True, True)
    assert bundle.reference(is_working_dir=False, in_place=False) == CodeReference(
        bundle.digest, str(project), size, False, False
    )


def test_code_is_present_only_with_all_its_files(project: Path, tmp_path: Path) -> None:
    bundle = bundle_of(project)
    entries = read_manifest(bundle.manifest, bundle.digest)
    assert is_present(str(project), entries)
    (project / "tool").unlink()
    assert not is_present(str(project), entries)


def test_an_archive_that_lacks_files_names_three_of_them(tmp_path: Path) -> None:
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    entries = [(name, "", False) for name in "dcba"]
    with pytest.raises(CodeError, match=r"^the driver's code arrived without a, b, c; run the query again$"):
        unpack_bundle(empty, entries, str(tmp_path))


def test_an_archive_with_a_file_of_its_own_is_refused(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("more", "x")
    with pytest.raises(CodeError, match=r"^the driver's code arrived damaged: more; run the query again$"):
        unpack_bundle(archive, [], str(tmp_path))
    assert not (tmp_path / "more").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: unpack_bundle(io.BytesIO(b"no zip"), [], "/nowhere"), "the driver's code cannot be unpacked: "),
        (lambda: read_manifest(b"[]", "0"), "the list of the driver's code arrived damaged; run the query again"),
        (lambda: manifest_of("../a"), "the driver's code holds the path '../a', which leads out of the folder"),
        (lambda: manifest_of("a/" * 100 + "a"), "the driver's code holds a path of more than 100 folders"),
    ],
)
def test_damage_is_told_of_the_drivers_code(read: Callable[[], object], message: str) -> None:
    with pytest.raises(CodeError) as caught:
        read()
    assert str(caught.value).startswith(message)


def manifest_of(path: str) -> list[tuple[str, str, bool]]:
    manifest = json.dumps([(path, "0", False)]).encode()
    return read_manifest(manifest, hashlib.sha256(manifest).hexdigest())
