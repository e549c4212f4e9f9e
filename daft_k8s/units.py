"""Sizes and times as people read them. Pure."""

from __future__ import annotations

UNKNOWN = "-"


def format_size(size_bytes: int | None) -> str:
    """A size in the largest binary unit that it fills."""
    if size_bytes is None:
        return UNKNOWN
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size_bytes >= 1 << shift:
            return f"{size_bytes / (1 << shift):.1f} {unit}"
    return str(size_bytes)


def format_time(seconds: float | None) -> str:
    """A time in the largest unit of which there are two."""
    if seconds is None:
        return UNKNOWN
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(0, seconds))}s"


def format_amount(amount: float | None) -> str:
    """An amount without needless zeros."""
    return UNKNOWN if amount is None else f"{amount:.3g}"
