"""The last lines of a worker's log, which stand at the end of the reason for its end. Pure.

The driver's Rust (`daft_k8s_core::reasons`) adds to such a reason before these lines, as do the functions here.
"""

from __future__ import annotations

from collections.abc import Sequence

LOG_MARK = "; last log lines:\n"
"""Begins the lines."""


def quote_log(lines: Sequence[str]) -> str:
    """Returns the end of a reason that quotes these lines; "" for none."""
    return LOG_MARK + "\n".join(f"  {line}" for line in lines) if lines else ""


def split_log(reason: str) -> tuple[str, str]:
    """The reason without the log lines that it quotes, and these lines with their mark."""
    head, mark, lines = reason.partition(LOG_MARK)
    return head, mark + lines


def add_to_reason(reason: str, addition: str) -> str:
    """Adds to a reason before the log lines that it quotes."""
    head, log = split_log(reason)
    return head + addition + log
