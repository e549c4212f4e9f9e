"""Signals act in the tests of commands: in the background of a shell, or under `nohup`, some would be ignored."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


@pytest.fixture(autouse=True)
def signals_that_act() -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in DEFAULTS.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
