"""Every Python decoder of foreign bytes: a short run of the fuzz targets, and each input that once found a defect.

Not covered: the Rust decoders (rust_ext/ipc/tests/fuzz.rs); long runs (`make fuzz SECONDS=300`).
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.fuzz.run import Defect, attempt, fuzz
from tests.fuzz.targets import CORPUS, TARGETS, Target

INPUTS = 200


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_changed_input_breaks_a_decoder(target: Target) -> None:
    assert fuzz(target, Random(1), inputs=INPUTS) == INPUTS


def test_every_corpus_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= {target.name for target in TARGETS}


def test_a_decoder_that_fails_or_takes_too_long_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> Any:
        return data[100]

    failing = Target("failing", (b"x",), broken, lambda data, random: data)
    with pytest.raises(Defect, match="IndexError"):
        fuzz(failing, Random(1), inputs=1)
    monkeypatch.setattr("tests.fuzz.run.MOST_SECONDS", -1.0)
    with pytest.raises(Defect, match="took"):
        attempt(Target("slow", (b"x",), len, lambda data, random: data), b"x")
