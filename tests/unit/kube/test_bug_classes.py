"""That the table of bug classes names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).parent / "README.md"


def test_every_bug_class_names_tests_that_exist() -> None:
    defined = set()
    for path in TESTS.rglob("test_*.py"):
        defined.update(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    for path in (TESTS.parent / "rust_ext").rglob("*.rs"):
        defined.update(re.findall(r"#\[(?:tokio::)?test[^\n]*\]\s+(?:async )?fn (\w+)", path.read_text()))
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and "bug class" not in line]
    assert len(rows) > 45
    for row in rows:
        named = re.findall(r"`(\w{20,})`", row)
        assert named, row
        assert [name for name in named if name not in defined] == [], row
