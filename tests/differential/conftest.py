"""The two engines, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.engines import Engines


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    with Engines() as both:
        yield both
