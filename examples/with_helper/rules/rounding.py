"""How amounts are rounded."""

from __future__ import annotations


def to_cents(amount: float) -> float:
    """The amount with two digits after the point."""
    return round(amount, 2)
