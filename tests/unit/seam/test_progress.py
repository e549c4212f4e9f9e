"""Progress bars, or none where no terminal shows them. What a bar looks like is Daft's and tqdm's business."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from daft_k8s.seam.progress import DriverProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("stream", [None, closed(), object()], ids=["none", "closed", "stand-in"])
def test_a_program_without_stderr_has_no_bars(monkeypatch: pytest.MonkeyPatch, stream: Any, wanted: bool) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    if wanted:
        monkeypatch.setenv("DAFT_PROGRESS_BAR", "1")
    assert DriverProgressBar(True).disable


def test_a_terminal_shows_bars_and_a_file_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAFT_PROGRESS_BAR", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert not DriverProgressBar(True).disable
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert DriverProgressBar(True).disable
    monkeypatch.setenv("DAFT_PROGRESS_BAR", "1")
    assert not DriverProgressBar(True).disable
