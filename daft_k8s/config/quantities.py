"""Kubernetes quantities: what people write for CPU and memory, as numbers, and back.

Accepted are the forms that the Kubernetes API accepts (`4Gi`, `500m`, `2`, `1.5`, `1e9`) and plain
numbers. Sums are exact (fractions), and what does not come out even is rounded up, as Kubernetes does.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

MAX_BYTES = 2**63 - 1
"""The largest quantity that the Kubernetes API can hold."""

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
}
_NUMBER = r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_QUANTITY = re.compile(
    rf"(?P<sign>[+-]?){_NUMBER}(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{{1,2}}))?"
)
_ALMOST = re.compile(rf"{_NUMBER}\s*(?P<unit>[KMGTPE])(?P<binary>i?)(?:B|bytes?)?", re.IGNORECASE)
_MAX_LENGTH = 64


def parse_quantity(value: object) -> Fraction:
    """The exact value of a Kubernetes quantity.

    Args:
        value: Text such as `4Gi`, `500m`, `1e9`, or an int or float.

    Raises:
        ValueError: The text is no quantity; the message says why, and proposes one.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"a quantity is text or a number, not {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a quantity is finite")
    text = str(value).strip()
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"a quantity has at most {_MAX_LENGTH} characters")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"not a Kubernetes quantity{_perhaps_meant(text)}")
    amount = Fraction(match["number"])
    if match["sign"] == "-":
        amount = -amount
    if match["exponent"] is not None:
        return amount * Fraction(10) ** int(match["exponent"])
    suffix = match["suffix"] or ""
    return amount * (_BINARY.get(suffix) or _DECIMAL.get(suffix, Fraction(1)))


def parse_memory(value: object) -> int:
    """Bytes of a memory quantity, rounded up; plain numbers are bytes.

    Raises:
        ValueError: The text is no quantity, is negative, or is more than 2^63 - 1.
    """
    amount = parse_quantity(value)
    if amount < 0:
        raise ValueError("a size is not negative")
    size = math.ceil(amount)
    if size > MAX_BYTES:
        raise ValueError("larger than Kubernetes can hold (2^63 - 1 bytes)")
    return size


def parse_cpu(value: object) -> float:
    """Cores of a CPU quantity, rounded up to whole thousandths, the finest that Kubernetes knows.

    Raises:
        ValueError: The text is no quantity, is negative, or is more than a million cores.
    """
    amount = parse_quantity(value)
    if amount < 0:
        raise ValueError("a number of cores is not negative")
    if amount > 10**6:
        raise ValueError("more than a million cores")
    return math.ceil(amount * 1000) / 1000


def format_memory(size_bytes: int) -> str:
    """The shortest exact quantity: `format_memory(4294967296) == "4Gi"`."""
    for suffix, factor in reversed(_BINARY.items()):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{suffix}"
    return str(size_bytes)


def format_cpu(cores: float) -> str:
    """Cores as Kubernetes writes them: `2`, or thousandths as in `1500m`."""
    thousandths = round(cores * 1000)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def _perhaps_meant(text: str) -> str:
    match = _ALMOST.fullmatch(text)
    if match is None:
        return ""
    unit = match["unit"].upper()
    if not match["binary"] and unit == "K":
        unit = "k"
    return f"; perhaps {match['number']}{unit}{match['binary'].lower()} was meant"
