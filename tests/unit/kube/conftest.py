"""What tests of launchers have in common."""

from __future__ import annotations

import pytest

from daft_k8s.kube.objects import names
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster


@pytest.fixture(autouse=True)
def known_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The random part of a Secret's name is always the same; tests of that are in test_set_up.py."""
    monkeypatch.setattr(names, "token_hex", lambda number: "0" * number)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def pool() -> Pool:
    return Pool()
