"""The check, at the end of each module of tests, that its drivers have unpickled nothing that came from a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local import driver_process


@pytest.fixture(scope="session")
def unpickled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in which drivers note it."""
    notes = tmp_path_factory.mktemp("unpickled") / "notes"
    driver_process.UNPICKLED = str(notes)
    return notes


@pytest.fixture(scope="module", autouse=True)
def nothing_is_unpickled_in_drivers(unpickled: Path) -> Iterator[None]:
    """Fails if there are notes."""
    unpickled.unlink(missing_ok=True)
    yield
    assert not unpickled.exists(), unpickled.read_text()[:10_000]
