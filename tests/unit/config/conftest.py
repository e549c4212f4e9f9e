"""A machine of known size, and a `load` that sees nothing but what the test gives it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

from daft_k8s.config import Configuration, load, machine


class Load(Protocol):
    """`load` in an empty folder, with an empty home and no environment but what is given."""

    def __call__(
        self, environ: Mapping[str, str] | None = None, *, toml: str | None = None, **arguments: object
    ) -> Configuration: ...


@pytest.fixture(autouse=True)
def eight_cpus_and_32_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_cpus", lambda: 8)
    monkeypatch.setattr(machine, "available_memory_bytes", lambda: 32 * 2**30)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / ".config/daft-k8s").mkdir(parents=True)
    return folder


@pytest.fixture
def read(here: Path, home: Path) -> Load:
    def read_in_the_empty_folder(
        environ: Mapping[str, str] | None = None, *, toml: str | None = None, **arguments: object
    ) -> Configuration:
        if toml is not None:
            (here / "daft-k8s.toml").write_text(toml, encoding="utf-8")
        return load(arguments, environ={"HOME": str(home), **(environ or {})}, cwd=here)

    return read_in_the_empty_folder
