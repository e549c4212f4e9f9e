"""Command-line values that several benchmarks take."""

from __future__ import annotations

import argparse
import math

from benchmarks.engine import ENGINES
from benchmarks.tpch.answers import NUMBERS


def positive_float(text: str) -> float:
    """A finite number above 0."""
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


def positive_int(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def engines_of(text: str) -> list[str]:
    """`native,daft_k8s` as a list without repeats."""
    engines = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [engine for engine in engines if engine not in ENGINES]
    if unknown or not engines:
        raise argparse.ArgumentTypeError(f"choose engines from {', '.join(ENGINES)}, not {text!r}")
    return engines


def numbers_of(text: str) -> list[int]:
    """`1,5,7-9` as the numbers of queries."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise argparse.ArgumentTypeError(f"queries look like 1,5,7-9, not {text!r}")
        numbers += range(int(first), int(last or first) + 1)
    if not numbers or any(number not in NUMBERS for number in numbers):
        raise argparse.ArgumentTypeError(f"queries are numbered 1 to {NUMBERS[-1]}, got {text!r}")
    return list(dict.fromkeys(numbers))


def memory_quantity(text: str) -> str:
    """A Kubernetes quantity such as 4Gi, checked here so that a mistake shows before anything runs."""
    from daft_k8s.config.quantities import parse_memory

    try:
        parse_memory(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return text


def memory_limit(quantity: str | None) -> int | None:
    """Bytes of a quantity that was checked before."""
    from daft_k8s.config.quantities import parse_memory

    return None if quantity is None else parse_memory(quantity)


def add_worker_options(parser: argparse.ArgumentParser, *, memory: str | None = None) -> None:
    """`--workers`, `--worker-cpu`, `--worker-memory`."""
    parser.add_argument("--workers", type=positive_int, default=2, help="local workers (default: 2)")
    parser.add_argument("--worker-cpu", type=positive_float, default=1.0, help="CPUs of each (default: 1)")
    parser.add_argument(
        "--worker-memory",
        type=memory_quantity,
        default=memory,
        help=f"memory of each, such as 4Gi (default: {memory or 'the runner chooses'})",
    )
