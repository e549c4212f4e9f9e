"""Which of Daft's native extensions a worker loads, and when. Real libraries are in tests/local/test_features.py."""

from __future__ import annotations

import daft
import pytest

from daft_k8s.worker import extensions
from daft_k8s.worker.extensions import load_extensions


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "_loaded", set())
    monkeypatch.setattr(extensions, "_complaints", {})


def test_an_extension_that_arrives_later_is_loaded_then_and_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    there: set[str] = set()
    loaded: list[str] = []

    def load(path: str) -> None:
        if path not in there:
            raise OSError(f"{path}: cannot open shared object file")
        loaded.append(path)

    monkeypatch.setattr(daft, "load_extension", load)
    for _ in range(2):
        load_extensions(["/lib/late.so"])
    assert [record.levelname for record in caplog.records] == ["WARNING"], "each task would say so again"
    assert "/lib/late.so, which the driver has loaded, cannot be loaded here" in caplog.text
    there.add("/lib/late.so")
    for _ in range(2):
        load_extensions(["/lib/late.so"])
    assert loaded == ["/lib/late.so"]
