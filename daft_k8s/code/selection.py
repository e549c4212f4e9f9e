"""The selection of a folder's files that are shipped."""

from __future__ import annotations

import importlib.machinery
import logging
import os
import re
from collections.abc import Iterator
from fnmatch import translate
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from daft_k8s.errors import CodeError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

logger = logging.getLogger("daft_k8s")

IGNORE_FILES = (".gitignore", ".daftignore")
"""Read in every folder; what a later one says goes first, so `!generated.py` in `.daftignore` brings a file back."""

MAX_FILES = 20_000
MAX_ENTRIES = 200_000
"""Entries of folders that are looked at: a folder with more is a data set, or the wrong one."""

MAX_DEPTH = 100
"""Folders in one another: no code has as many, and each costs a step of what walks through them."""

_NEVER = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages", "__pypackages__"})
_KEYS = (
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.ovpn", "*.tfstate"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.kubeconfig", "kubeconfig", "credentials", "htpasswd"),
    *("*credentials*.json", "*service[-_]account*.json", "client_secret*.json", "secrets.json"),
    *("credentials.y*ml", "secrets.y*ml", "credentials.toml", "secrets.toml", "credentials.ini", "secrets.ini"),
)
"""Files with keys, as tools name them. Hidden ones, such as `.env` and `.netrc`, are never shipped anyway."""
_IS_KEY = re.compile("|".join(map(translate, _KEYS)), re.IGNORECASE)
_warned: set[tuple[str, ...]] = set()
"""Keys that were warned of."""
_MODULE_SUFFIXES = tuple(importlib.machinery.SOURCE_SUFFIXES + importlib.machinery.EXTENSION_SUFFIXES)
_NAMED = 5
_HOW_TO_LEAVE_OUT = "name it in a .daftignore file there, or set working_dir to another folder (or to none)"


class SelectedFile(NamedTuple):
    """A file to ship."""

    path: str
    """Relative to the root, with slashes."""
    source: str
    """The path from which the file is read."""
    size_bytes: int


class _Folder(NamedTuple):
    source: str
    path: str
    real_parents: tuple[str, ...]
    ignores: tuple[tuple[str, GitIgnoreSpec], ...]


def select_files(root: str, *, modules_only: bool, size_limit_bytes: int, shallow: bool = False) -> list[SelectedFile]:
    """The files to ship, sorted by path.

    Hidden files and folders, virtual environments and caches are never among them. Nor are files with keys and ignored
    files, unless an ignore file brings them back.

    Args:
        root: The folder.
        modules_only: Only what Python imports: sources and extension modules.
        size_limit_bytes: The largest size of all files together.
        shallow: Only files directly in the folder.

    Raises:
        CodeError: The folder cannot be read, is too large, or a link in it leads out of it.
    """
    walk = _Walk(os.path.realpath(root), modules_only=modules_only, shallow=shallow)
    files: list[SelectedFile] = []
    size_bytes = 0
    for file in walk:
        files.append(file)
        size_bytes += file.size_bytes
        if len(files) > MAX_FILES:
            raise CodeError(
                f"{root} has more than {MAX_FILES} files to ship to the workers; leave out what they do not need: "
                f"{_HOW_TO_LEAVE_OUT}"
            )
    if size_bytes > size_limit_bytes:
        largest = sorted(files, key=lambda file: -file.size_bytes)[:3]
        named = ", ".join(f"{file.path} ({shown_bytes(file.size_bytes)})" for file in largest)
        raise CodeError(
            f"the code in {root} is too large to be shipped to the workers: {shown_bytes(size_bytes)} in {len(files)} "
            f"files, and code_size_limit allows {shown_bytes(size_limit_bytes)}; the largest are {named}. Leave out "
            f"what is not code ({_HOW_TO_LEAVE_OUT}), raise code_size_limit, or bake it into the image"
        )
    _warn_of_keys(walk)
    return sorted(files)


def _warn_of_keys(walk: _Walk) -> None:
    keys = tuple(sorted(walk.keys))
    if keys and keys not in _warned:
        _warned.add(keys)
        named = ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
        logger.warning(
            "files that look like keys are not shipped to the workers: %s. To ship one, write !NAME into a .daftignore "
            "file; better, use a Kubernetes Secret or the cloud's identity of a service account",
            named,
        )


class _Walk:
    def __init__(self, root: str, *, modules_only: bool, shallow: bool) -> None:
        self._root = root
        self._modules_only = modules_only
        self._shallow = shallow
        self._seen = 0
        self.keys: list[str] = []
        """Files that would have been shipped if they did not look like keys."""

    def __iter__(self) -> Iterator[SelectedFile]:
        waiting = [_Folder(self._root, "", (), ())]
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(folder.source)
            if real in folder.real_parents:
                continue  # a link back to a folder above it
            parents = (*folder.real_parents, real)
            if len(parents) > MAX_DEPTH:
                raise CodeError(
                    f"the code to ship to the workers lies more than {MAX_DEPTH} folders deep, in "
                    f"{folder.source[:200]}; leave it out: {_HOW_TO_LEAVE_OUT}"
                )
            try:
                entries = sorted(os.scandir(folder.source), key=lambda entry: entry.name)
            except OSError as error:
                raise CodeError(f"the code to ship to the workers cannot be read: {error}") from error
            ignores = (*folder.ignores, *_read_ignores(folder, entries))
            for entry in entries:
                self._count()
                path = f"{folder.path}{entry.name}"
                if entry.name.startswith(".") or entry.name in _NEVER:
                    continue
                if self._is_folder(entry, path, ignores):
                    waiting.append(_Folder(entry.path, f"{path}/", parents, ignores))
                    continue
                file = self._file(entry, path, ignores)
                if file is not None:
                    yield file

    def _count(self) -> None:
        self._seen += 1
        if self._seen > MAX_ENTRIES:
            raise CodeError(
                f"{self._root} holds more than {MAX_ENTRIES} files and folders, so the code in it is not looked for; "
                "set working_dir to the folder with the code, or to none"
            )

    def _is_folder(self, entry: os.DirEntry[str], path: str, ignores: tuple[tuple[str, GitIgnoreSpec], ...]) -> bool:
        if not entry.is_dir() or self._shallow or os.path.exists(os.path.join(entry.path, "pyvenv.cfg")):
            return False
        if _said(f"{path}/", ignores):
            return False
        if entry.is_symlink() and not self._is_inside(entry.path):
            if self._modules_only and not _has_modules(entry.path):
                return False  # a link to data
            raise self._leads_out(entry.path)
        return True

    def _file(
        self, entry: os.DirEntry[str], path: str, ignores: tuple[tuple[str, GitIgnoreSpec], ...]
    ) -> SelectedFile | None:
        if self._modules_only and not entry.name.endswith(_MODULE_SUFFIXES):
            return None
        if not entry.is_file():
            return None  # sockets, pipes, dangling links
        ignored = _said(path, ignores)
        if ignored is None and _IS_KEY.fullmatch(entry.name):
            self.keys.append(path)
            return None
        if ignored:
            return None
        if entry.is_symlink() and not self._is_inside(entry.path):
            raise self._leads_out(entry.path)
        return SelectedFile(path, entry.path, entry.stat().st_size)

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._root or real.startswith(self._root.rstrip(os.sep) + os.sep)

    def _leads_out(self, link: str) -> CodeError:
        return CodeError(
            f"{link} is a link to {os.path.realpath(link)}, which is outside of {self._root}, so it is not shipped to "
            f"the workers; put a copy in its place, or leave it out: {_HOW_TO_LEAVE_OUT}"
        )


def _has_modules(folder: str) -> bool:
    try:
        return any(name.endswith(_MODULE_SUFFIXES) for name in os.listdir(folder))
    except OSError:
        return False


def _read_ignores(folder: _Folder, entries: list[os.DirEntry[str]]) -> Iterator[tuple[str, GitIgnoreSpec]]:
    found = {entry.name: entry.path for entry in entries if entry.name in IGNORE_FILES and entry.is_file()}
    for name in IGNORE_FILES:
        if name in found:
            from pathspec import GitIgnoreSpec

            try:
                with open(found[name], encoding="utf-8", errors="replace") as lines:
                    yield folder.path, GitIgnoreSpec.from_lines(lines.read().splitlines())
            except (OSError, ValueError) as error:
                raise CodeError(f"the ignore file {found[name]} cannot be read: {error}") from error


def _said(path: str, ignores: tuple[tuple[str, GitIgnoreSpec], ...]) -> bool | None:
    """True if ignore files leave a path out, False if one brings it back; None: they do not name it."""
    ignored = None
    for base, spec in ignores:
        said = spec.check_file(path[len(base) :]).include
        if said is not None:
            ignored = said
    return ignored


def is_safe_path(path: str) -> bool:
    """True if a path of a bundle stays inside the folder into which the bundle is unpacked."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and "\0" not in path


def shown_bytes(size_bytes: int) -> str:
    """A size as people read it."""
    return f"{size_bytes / 2**20:.1f} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.1f} KiB"
