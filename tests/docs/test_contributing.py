"""The table of decisions in CONTRIBUTING.md: each file is there, and defines what the table names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = re.findall(r"^\| .* \| `([^`]+)`: `(\w+)` \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)


def test_the_table_is_read() -> None:
    assert len(DECISIONS) > 20


@pytest.mark.parametrize(("file", "name"), DECISIONS, ids=lambda part: str(part).rpartition("/")[2])
def test_what_decides_is_where_the_table_says(file: str, name: str) -> None:
    definition = rf"^\s*(?:pub )?(?:pub\(\w+\) )?(?:async )?(?:const )?(?:def|class|fn|const) {name}\b|^{name}\b"
    assert re.search(definition, (ROOT / file).read_text(), re.MULTILINE), f"{file} defines no {name}"
