"""The start-up check of Daft's version and hooks."""

from __future__ import annotations

import daft
import pytest

from daft_k8s.errors import VersionMismatchError
from daft_k8s.seam.checks import SUPPORTED_RANGE, check_daft, check_version, find_missing_hooks


@pytest.mark.parametrize("version", ["0.7.16", "0.7.26", "0.7.100", "0.7.26+local", "0.7.26.dev3"])
def test_versions_of_the_supported_range_are_accepted(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["0.7.15", "0.6.0", "0.8.0", "0.8.0rc1", "1.0.0", "nonsense"])
def test_other_versions_are_refused_naming_both(version: str) -> None:
    with pytest.raises(VersionMismatchError) as caught:
        check_version(version)
    assert version in str(caught.value)
    assert SUPPORTED_RANGE in str(caught.value)


def test_the_installed_daft_has_every_hook() -> None:
    assert find_missing_hooks() == []
    check_daft(daft.__version__)


def test_missing_hooks_are_named() -> None:
    hooks = {
        "daft.daft": ("RayTaskResult.success_ray", "RayTaskResult.success_pigeon"),
        "daft.no_such_module": ("anything",),
        "daft.runners": ("no_such_function",),
    }
    assert find_missing_hooks(hooks) == [
        "daft.daft.RayTaskResult.success_pigeon",
        "daft.no_such_module",
        "daft.runners.no_such_function",
    ]


def test_a_daft_without_a_hook_is_refused_naming_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("daft.runners.progress_bar.get_tqdm")
    with pytest.raises(VersionMismatchError, match=r"daft\.runners\.progress_bar\.get_tqdm"):
        check_daft(daft.__version__)
