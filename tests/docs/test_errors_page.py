"""Every message that docs/errors.md quotes is one that the code can say. `…` stands for what differs each time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.docs.blocks import ROOT, prose

BETWEEN_LITERALS = re.compile(r'"\s*\\?\n\s*f?"|\\\n\s*')


def messages() -> Iterator[str]:
    rows = False
    for _, line in prose("docs/errors.md"):
        if line.startswith("| the message"):
            rows = True
        elif not line.startswith("|"):
            rows = False
        elif rows and (quoted := re.match(r"\| `([^`]+)` \|", line)):
            yield quoted[1]


@cache
def source() -> str:
    """All code, with texts that are written in several pieces joined."""
    paths = [*(ROOT / "daft_k8s").rglob("*.py"), *(ROOT / "rust_ext").rglob("src/**/*.rs")]
    return BETWEEN_LITERALS.sub("", "\n".join(path.read_text() for path in sorted(paths)))


def test_messages_are_quoted() -> None:
    assert len(list(messages())) > 20


@pytest.mark.parametrize("message", sorted(messages()))
def test_the_code_can_say_what_the_page_quotes(message: str) -> None:
    assert [piece for piece in message.split("…") if piece.strip() not in source()] == []
