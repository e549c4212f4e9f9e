"""How many GPUs Daft's AI providers are told of. No GPU is needed, and no worker starts."""

from __future__ import annotations

import pytest

from daft_k8s.config import Configuration, load
from daft_k8s.seam import install

BASE = {"num_workers": 3, "worker_cpu": 1, "worker_memory": "1Gi"}


def options(monkeypatch: pytest.MonkeyPatch, configuration: Configuration | None) -> tuple[int | None, int | None]:
    monkeypatch.setattr("daft.daft.get_runner", lambda: None)  # another test of this process may have made one
    monkeypatch.setattr("daft_k8s.driver.session.find_current_session", lambda: None)
    monkeypatch.setattr(install, "_configuration_source", None if configuration is None else lambda: configuration)
    found = install.get_gpu_udf_options()
    return found.concurrency, found.num_gpus


def test_the_gpus_of_all_workers_are_counted_before_the_first_query_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options(monkeypatch, load({**BASE, "worker_gpu": 2}, environ={})) == (6, 1)


def test_workers_of_an_elastic_pool_that_are_not_there_yet_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    elastic = load({"allocation": "pod", "image": "x", "min_workers": 1, "max_workers": 4, "worker_gpu": 1}, environ={})
    assert options(monkeypatch, elastic) == (4, 1)


def test_without_gpus_a_model_runs_on_threads_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options(monkeypatch, load(BASE, environ={})) == (None, None)
    assert options(monkeypatch, None) == (None, None)


def test_a_share_of_a_gpu_is_none_that_a_model_could_have_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options(monkeypatch, load({**BASE, "worker_gpu": 0.5}, environ={})) == (None, None)
