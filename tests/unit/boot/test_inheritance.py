"""What children of a driver inherit, and the version that the package tells."""

from __future__ import annotations

import os

import pytest

import daft_k8s
from daft_k8s.boot import inheritance
from tests.unit.test_project import ROOT, tomllib


@pytest.mark.parametrize("wish", ["k8s", "K8S"])
def test_a_wish_is_passed_on_under_dafts_own_name_and_still_understood(
    monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    monkeypatch.setenv(inheritance.RUNNER, wish)
    monkeypatch.delenv(inheritance._TAKEN_OVER, raising=False)
    assert inheritance.is_wanted()
    monkeypatch.setenv(inheritance._TAKEN_OVER, "")  # so that it is undone
    inheritance.pass_on()
    assert os.environ[inheritance.RUNNER] == "ray"
    assert inheritance.is_wanted()


def test_ray_itself_is_not_taken_for_a_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(inheritance._TAKEN_OVER, raising=False)
    monkeypatch.setenv(inheritance.RUNNER, "ray")
    assert not inheritance.is_wanted()


def test_the_package_tells_its_version() -> None:
    assert daft_k8s.__version__ == tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        daft_k8s.nonsense  # noqa: B018
