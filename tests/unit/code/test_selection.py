"""Which files of a folder are shipped, and from which folder.

Not covered: how they are packed (test_bundle.py).
"""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from daft_k8s.code import selection
from daft_k8s.code.roots import is_installed, script_folder
from daft_k8s.code.selection import select_files, shown_bytes
from daft_k8s.errors import CodeError

MIB = 2**20


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test has the same warnings each time that it runs in a process."""
    monkeypatch.setattr(selection, "_warned", set())


def fill(root: Path, *paths: str) -> None:
    for path in paths:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"# {path}")


def chosen(root: Path, *, modules_only: bool = True, shallow: bool = False) -> list[str]:
    files = select_files(str(root), modules_only=modules_only, size_limit_bytes=MIB, shallow=shallow)
    return [file.path for file in files]


def test_modules_and_packages_are_shipped_and_data_is_not(tmp_path: Path) -> None:
    fill(tmp_path, "main.py", "helpers.py", "pkg/__init__.py", "pkg/deep/inner.py", "data.parquet", "pkg/notes.txt")
    assert chosen(tmp_path) == ["helpers.py", "main.py", "pkg/__init__.py", "pkg/deep/inner.py"]


def test_a_working_dir_is_shipped_with_its_data(tmp_path: Path) -> None:
    fill(tmp_path, "main.py", "model/weights.bin")
    assert chosen(tmp_path, modules_only=False) == ["main.py", "model/weights.bin"]


@pytest.mark.parametrize(
    "name",
    [
        "tls.pem",
        "tls.KEY",
        "id_rsa",
        "credentials.json",
        "my-service-account.json",
        "secrets.yaml",
        "a.p12",
        "kubeconfig",
    ],
)
def test_keys_are_not_shipped_and_one_warning_says_so(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"deploy/{tmp_path.name}/{name}"
    fill(tmp_path, "main.py", path)
    for _ in range(2):
        assert chosen(tmp_path, modules_only=False) == ["main.py"]
    [record] = caplog.records
    assert f"look like keys are not shipped to the workers: {path}. " in record.getMessage()


def test_a_key_that_an_ignore_file_brings_back_is_shipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "ca/public.pem", "ca/private.pem", "monkey.json", "credentials.py")
    (tmp_path / ".daftignore").write_text("private.pem\n!public.pem\n")
    assert chosen(tmp_path, modules_only=False) == ["ca/public.pem", "credentials.py", "monkey.json"]
    assert not caplog.records, "what an ignore file leaves out is no news"


def test_environments_caches_and_hidden_files_are_never_shipped(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "a.py",
        "env/pyvenv.cfg",
        "env/lib/b.py",
        "__pycache__/c.py",
        ".git/d.py",
        ".e.py",
        "node_modules/f.py",
    )
    assert chosen(tmp_path) == ["a.py"]
    assert chosen(tmp_path, modules_only=False) == ["a.py"]


def test_ignore_files_count_from_their_own_folder_and_the_later_one_goes_first(tmp_path: Path) -> None:
    fill(tmp_path, "a.py", "old/b.py", "pkg/c_gen.py", "pkg/d.py", "pkg/old/e.py", "pkg/scratch.py")
    (tmp_path / ".gitignore").write_text("/old/\n*_gen.py\n")
    (tmp_path / ".daftignore").write_text("!c_gen.py\n")
    (tmp_path / "pkg" / ".gitignore").write_text("/scratch.py\n")
    assert chosen(tmp_path) == ["a.py", "pkg/c_gen.py", "pkg/d.py", "pkg/old/e.py"]


def test_a_folder_of_everything_gives_only_its_own_modules(tmp_path: Path) -> None:
    fill(tmp_path, "a.py", "project/b.py")
    assert chosen(tmp_path, shallow=True) == ["a.py"]


def test_code_above_the_limit_is_refused_with_the_largest_files_and_the_ways_out(tmp_path: Path) -> None:
    fill(tmp_path, "small.py")
    (tmp_path / "large.py").write_bytes(b"#" * (MIB + 1))
    with pytest.raises(CodeError, match=r"too large.*1\.0 MiB in 2 files.*large\.py.*\.daftignore.*code_size_limit"):
        chosen(tmp_path)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.py", "b.py", "c.py")
    monkeypatch.setattr(selection, "MAX_FILES", 2)
    with pytest.raises(CodeError, match="more than 2 files"):
        chosen(tmp_path)
    monkeypatch.setattr(selection, "MAX_ENTRIES", 2)
    with pytest.raises(CodeError, match="more than 2 files and folders"):
        chosen(tmp_path)


def test_a_link_that_leads_out_is_refused_by_name_unless_it_is_data_or_ignored(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    fill(root, "a.py")
    fill(outside, "secret.py")
    fill(tmp_path / "data", "big.parquet")
    (root / "data").symlink_to(tmp_path / "data")
    assert chosen(root) == ["a.py"]
    (root / "shared").symlink_to(outside)
    with pytest.raises(CodeError, match=r"shared is a link to .*outside, which is outside of"):
        chosen(root)
    (root / ".daftignore").write_text("shared\n")
    assert chosen(root) == ["a.py"]
    (root / "b.py").symlink_to(outside / "secret.py")
    with pytest.raises(CodeError, match=r"b\.py is a link to"):
        chosen(root)


def test_links_within_the_folder_are_followed_and_a_loop_ends(tmp_path: Path) -> None:
    fill(tmp_path, "pkg/a.py")
    (tmp_path / "alias.py").symlink_to("pkg/a.py")
    (tmp_path / "pkg" / "up").symlink_to(tmp_path)
    assert chosen(tmp_path) == ["alias.py", "pkg/a.py"]


def module(name: str, file: Path | None, package: str | None = None) -> types.ModuleType:
    made = types.ModuleType(name)
    if file is not None:
        made.__file__ = str(file)
    made.__spec__ = None if package is None else types.SimpleNamespace(parent=package)  # type: ignore[assignment]
    return made


def test_the_folder_is_the_scripts_or_the_one_that_holds_the_package(tmp_path: Path) -> None:
    script = script_folder(module("__main__", tmp_path / "jobs" / "main.py"))
    assert script is not None and script.path == str(tmp_path.resolve() / "jobs")
    package = script_folder(module("__main__", tmp_path / "jobs" / "daily" / "main.py", "jobs.daily"))
    assert package is not None and package.path == str(tmp_path.resolve())


def test_a_notebook_has_its_current_folder(tmp_path: Path) -> None:
    found = script_folder(module("__main__", None), current=str(tmp_path))
    assert found is not None and found == (str(tmp_path.resolve()), False)


def test_an_installed_program_has_none_and_a_home_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert script_folder(module("__main__", Path(sys.prefix, "bin", "pytest"))) is None
    monkeypatch.setenv("HOME", str(tmp_path))
    found = script_folder(module("__main__", None), current=str(tmp_path))
    assert found is not None and found.shallow


def test_folders_in_folders_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / Path(*["d"] * 120)).mkdir(parents=True)
    with pytest.raises(CodeError, match="more than 100 folders deep"):
        select_files(str(tmp_path), modules_only=False, size_limit_bytes=MIB)


def test_a_folder_with_more_than_code_could_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.py", "b.txt", "c/d.py")
    monkeypatch.setattr(selection, "MAX_ENTRIES", 4)
    assert chosen(tmp_path) == ["a.py", "c/d.py"]
    monkeypatch.setattr(selection, "MAX_ENTRIES", 3)
    with pytest.raises(CodeError, match=r"more than 3 files and folders.*; set working_dir to the folder"):
        chosen(tmp_path)


def test_code_of_exactly_the_limit_is_shipped(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(bytes(100))
    assert select_files(str(tmp_path), modules_only=True, size_limit_bytes=100)
    with pytest.raises(CodeError):
        select_files(str(tmp_path), modules_only=True, size_limit_bytes=99)


def test_the_three_largest_files_are_named_largest_first(tmp_path: Path) -> None:
    for name, kib in (("a", 1), ("b", 4), ("c", 2), ("d", 3)):
        (tmp_path / f"{name}.py").write_bytes(bytes(kib * 1024))
    named = re.escape("the largest are b.py (4.0 KiB), d.py (3.0 KiB), c.py (2.0 KiB). Leave out")
    with pytest.raises(CodeError, match=named):
        select_files(str(tmp_path), modules_only=True, size_limit_bytes=1024)


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0.0 KiB"), (1536, "1.5 KiB"), (2**20 - 1, "1024.0 KiB"), (2**20, "1.0 MiB"), (5 * 2**19, "2.5 MiB")],
)
def test_a_size_is_shown_in_the_unit_that_suits_it(size_bytes: int, words: str) -> None:
    assert shown_bytes(size_bytes) == words


def test_a_warning_names_five_keys_and_the_number_of_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, *(f"few{number}.pem" for number in range(5)))
    chosen(tmp_path, modules_only=False)
    fill(tmp_path, *(f"many{number}.pem" for number in range(2)))
    chosen(tmp_path, modules_only=False)
    five = "few0.pem, few1.pem, few2.pem, few3.pem, few4.pem"
    told = [record.getMessage().partition(". ") for record in caplog.records]
    assert [first for first, _, _ in told] == [
        f"files that look like keys are not shipped to the workers: {words}" for words in (five, f"{five} and 2 more")
    ]
    assert {rest for _, _, rest in told} == {
        "To ship one, write !NAME into a .daftignore file; better, use a Kubernetes Secret or the cloud's identity of "
        "a service account"
    }


def test_an_ignore_file_that_is_no_text_still_counts(tmp_path: Path) -> None:
    fill(tmp_path, "a.py", "b.py")
    (tmp_path / ".gitignore").write_bytes(b"# \xff\nb.py\n")
    assert chosen(tmp_path) == ["a.py"]


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_a_folder_of_packages_is_installed_wherever_it_lies(folder: str) -> None:
    assert is_installed(f"/opt/x/{folder}")
    assert is_installed(f"/opt/x/{folder}/pkg")
    assert not is_installed(f"/opt/x/my-{folder}/pkg")


def test_an_environment_is_installed_and_the_python_it_was_made_from_is_not_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "prefix", "/opt/environment")
    assert is_installed("/opt/environment/share/x")
    monkeypatch.setattr(sys, "base_prefix", "/opt/environment")
    assert not is_installed("/opt/environment/share/x")
