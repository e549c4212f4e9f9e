"""The log lines at the end of a reason; `daft_k8s_core::reasons` reads them as well."""

from __future__ import annotations

from pathlib import Path

from daft_k8s.wire.quoted_log import LOG_MARK, add_to_reason, quote_log, split_log

ROOT = Path(__file__).parents[3]


def test_what_is_added_to_a_reason_stands_before_its_log() -> None:
    reason = "it died" + quote_log(["a", "b"])
    assert reason == "it died; last log lines:\n  a\n  b"
    assert split_log(reason) == ("it died", "; last log lines:\n  a\n  b")
    assert add_to_reason(reason, " again") == "it died again; last log lines:\n  a\n  b"
    assert add_to_reason("it died", " again") == "it died again"
    assert quote_log([]) == ""


def test_rust_knows_the_same_mark() -> None:
    declared = f'LOG_MARK: &str = "{LOG_MARK.encode("unicode_escape").decode()}"'
    assert declared in (ROOT / "rust_ext" / "core" / "src" / "reasons.rs").read_text()
