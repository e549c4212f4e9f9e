"""Foreign archives: what is unpacked, and what is refused before it takes memory, time or inodes."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from daft_k8s.code import archives
from daft_k8s.code.unpack import unpack_archive
from daft_k8s.errors import CodeError

MIB = 2**20


def make_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(path)


def test_foreign_zips_and_tars_are_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.mkdir("pkg")
        archive.writestr("pkg/a.py", "X = 1\n")
    tar = make_tar(tmp_path / "code.tgz", (tarfile.TarInfo("./pkg/a.py"), b"X = 1\n"))
    for number, path in enumerate([str(tmp_path / "code.zip"), tar]):
        folder = tmp_path / str(number)
        folder.mkdir()
        unpack_archive(path, "s3://b/code", str(folder), size_limit_bytes=MIB)
        assert (folder / "pkg" / "a.py").read_text() == "X = 1\n"


def test_foreign_archives_that_lead_out_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    hostile = [
        make_tar(tmp_path / "a.tgz", (tarfile.TarInfo("../a.py"), b"")),
        make_tar(tmp_path / "b.tgz", (tarfile.TarInfo("/tmp/a.py"), b"")),
        make_tar(tmp_path / "c.tgz", (link, b"")),
    ]
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("../a.py", "")
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    hostile += [str(tmp_path / "d.zip"), str(tmp_path / "e.zip")]
    folder = tmp_path / "target"
    folder.mkdir()
    for path in hostile:
        with pytest.raises(CodeError, match=r"s3://b/x holds .*(leads out|may lead out)"):
            unpack_archive(path, "s3://b/x", str(folder), size_limit_bytes=MIB)
    assert not list(folder.iterdir())


def test_a_bomb_and_something_else_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(2 * MIB))
    (tmp_path / "page.html").write_text("<html>not found</html>")
    with pytest.raises(CodeError, match="code_size_limit"):
        unpack_archive(str(tmp_path / "bomb.zip"), "bomb", str(tmp_path), size_limit_bytes=MIB)
    with pytest.raises(CodeError, match="neither a zip nor a tar"):
        unpack_archive(str(tmp_path / "page.html"), "page", str(tmp_path), size_limit_bytes=MIB)


def unpack(path: Path | str, target: Path) -> None:
    target.mkdir(exist_ok=True)
    unpack_archive(str(path), "hostile", str(target), size_limit_bytes=MIB)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_whose_header_unpacks_to_much_is_refused_without_reading_it(
    tmp_path: Path, kind: bytes, compress: Callable[[bytes], bytes]
) -> None:
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, 64 * MIB
    (tmp_path / "bomb").write_bytes(compress(info.tobuf() + bytes(32 * MIB)))
    tracemalloc.start()
    try:
        with pytest.raises(CodeError, match="header of more than 1048576 bytes"):
            unpack(tmp_path / "bomb", tmp_path / "target")
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB  # xz has a window of 8 MiB
    finally:
        tracemalloc.stop()


def test_a_tar_with_a_long_path_is_unpacked(tmp_path: Path) -> None:
    info = tarfile.TarInfo("/".join(["f" * 60] * 20))
    unpack(make_tar(tmp_path / "a.tgz", (info, b"x")), tmp_path / "target")
    assert (tmp_path / "target" / info.name).read_bytes() == b"x"


def test_an_archive_with_more_files_than_may_be_shipped_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 20)
    monkeypatch.setattr(archives, "_MAX_MEMBERS", 40)
    files = [(tarfile.TarInfo(f"{number}.py"), b"") for number in range(60)]
    folders = [(tarfile.TarInfo(f"{number}"), b"") for number in range(60)]
    for info, _ in folders:
        info.type = tarfile.DIRTYPE
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(60):
            archive.writestr(f"{number}.py", "")
    paths = [make_tar(tmp_path / "a.tgz", *files), make_tar(tmp_path / "b.tgz", *folders), tmp_path / "a.zip"]
    for path in paths:
        target = tmp_path / f"of-{Path(path).name}"
        with pytest.raises(CodeError, match="more than 20 files"):
            unpack(path, target)
        assert len(list(target.iterdir())) <= 20


def test_a_zip_with_a_list_of_members_that_is_longer_than_that_of_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(60):
            archive.writestr(f"{number:03}" + "n" * 1000, "")
    monkeypatch.setattr(archives, "_MAX_DIRECTORY_BYTES", 50_000)
    with pytest.raises(CodeError, match="list of members"):
        unpack(tmp_path / "a.zip", tmp_path / "target")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_in_ways_that_unpack_without_a_bound_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.py", "X = 1")
    with pytest.raises(CodeError, match="neither stored nor deflated"):
        unpack(tmp_path / "a.zip", tmp_path / "target")


def test_an_archive_of_folders_in_folders_is_refused(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 2000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"{deep}/a.py", "")
    folder = tarfile.TarInfo(deep)
    folder.type = tarfile.DIRTYPE
    for path in (tmp_path / "a.zip", make_tar(tmp_path / "a.tgz", (folder, b""))):
        with pytest.raises(CodeError, match="more than 100 folders"):
            unpack(path, tmp_path / "target")


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_that_ends_anywhere_is_an_error_of_code(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        info = tarfile.TarInfo("a.py")
        info.size = 5000
        archive.addfile(info, io.BytesIO(bytes(range(250)) * 20))
    packed = compress(whole.getvalue())
    for number, end in enumerate((1, 10, len(packed) // 4)):
        (tmp_path / "part").write_bytes(packed[:end])
        with pytest.raises(CodeError):
            unpack(tmp_path / "part", tmp_path / f"of-{number}")


def test_bytes_of_a_hostile_archive_never_raise_anything_else(tmp_path: Path) -> None:
    """A fuzzer in small: archives with a few bytes changed, each unpacked or refused with the one error."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pkg/a.py", "X = 1\n" * 50)
    make_tar(tmp_path / "a.tgz", (tarfile.TarInfo("pkg/" + "a" * 150), b"X = 1\n" * 50))
    seeds = [(tmp_path / "a.zip").read_bytes(), (tmp_path / "a.tgz").read_bytes()]
    seeds.append(gzip.decompress(seeds[1]))
    random = Random(7)
    for number in range(600):
        content = bytearray(seeds[number % 3])
        for _ in range(random.randint(1, 8)):
            content[random.randrange(len(content))] = random.randrange(256)
        (tmp_path / "mutant").write_bytes(content)
        target = tmp_path / f"target-{number}"
        with contextlib.suppress(CodeError):
            unpack(tmp_path / "mutant", target)
        assert sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) <= MIB


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_what_can_be_executed_in_an_archive_can_be_afterwards(tmp_path: Path, kind: str) -> None:
    for name, mode in (("run", 0o755), ("read", 0o644)):
        if kind == "zip":
            with zipfile.ZipFile(tmp_path / "a", "a") as archive:
                info = zipfile.ZipInfo(f"./{name}")
                info.external_attr = (0o100000 | mode) << 16
                archive.writestr(info, "x")
        else:
            with tarfile.open(tmp_path / "a", "a") as archive:
                member = tarfile.TarInfo(f"./{name}")
                member.mode, member.size = mode, 1
                archive.addfile(member, io.BytesIO(b"x"))
    unpack(tmp_path / "a", tmp_path / "target")
    found = {path.name: bool(path.stat().st_mode & 0o111) for path in (tmp_path / "target").iterdir()}
    assert found == {"run": True, "read": False}


def test_folders_of_an_archive_hold_no_files_and_are_no_error(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("./pkg")
    folder.type = tarfile.DIRTYPE
    root = tarfile.TarInfo("./")
    root.type = tarfile.DIRTYPE
    unpack(
        make_tar(tmp_path / "a", (root, b""), (folder, b""), (tarfile.TarInfo("./pkg/a"), b"x")), tmp_path / "target"
    )
    assert [str(path.relative_to(tmp_path / "target")) for path in (tmp_path / "target").rglob("*")] == ["pkg", "pkg/a"]


def test_a_link_is_refused_with_what_to_do(tmp_path: Path) -> None:
    link = tarfile.TarInfo("pkg/link")
    link.type, link.linkname = tarfile.SYMTYPE, "a"
    with pytest.raises(CodeError) as caught:
        unpack_archive(make_tar(tmp_path / "a", (link, b"")), "s3://b/x", str(tmp_path), size_limit_bytes=MIB)
    assert str(caught.value) == (
        "s3://b/x holds pkg/link, which is a link or a device; it is not unpacked, as links may lead out of the "
        "folder. Pack the file itself in its place"
    )


def test_an_archive_of_exactly_the_limit_is_unpacked(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a", (tarfile.TarInfo("a"), bytes(60)), (tarfile.TarInfo("b"), bytes(40)))
    for limit in (100, 99):
        folder = tmp_path / str(limit)
        folder.mkdir()
        context = pytest.raises(
            CodeError, match=r"^x unpacks to more than code_size_limit allows \(99 bytes\); raise it, or"
        )
        with contextlib.nullcontext() if limit == 100 else context:
            unpack_archive(path, "x", str(folder), size_limit_bytes=limit)
    assert (tmp_path / "100" / "b").stat().st_size == 40


def test_a_file_that_is_there_already_is_not_written_over(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a", (tarfile.TarInfo("a"), b"1"), (tarfile.TarInfo("a"), b"2"))
    folder = tmp_path / "target"
    folder.mkdir()
    with pytest.raises(CodeError, match=f"^a cannot be unpacked to {folder}: .*exists"):
        unpack_archive(path, "x", str(folder), size_limit_bytes=MIB)
    assert (folder / "a").read_bytes() == b"1"
