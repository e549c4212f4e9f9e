"""The results of a run by module of tests, small enough to be kept: docs/compatibility.md is made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .baseline import Comparison, Outcome
from .results import Result

FILE = Path(__file__).with_name("summary.tsv")


@dataclass
class Module:
    """The tests of one module of Daft's.

    `passed_there` counts those of them that pass in the baseline, `differ` those of these that do not pass here.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    passed_there: int = 0
    differ: int = 0


@dataclass
class Summary:
    """All modules by dotted name, and in `notes` which versions ran, and how long."""

    notes: dict[str, str] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)


def summarise(
    results: Sequence[Result], baseline: Mapping[str, Outcome], comparison: Comparison, notes: Mapping[str, str]
) -> Summary:
    """Counts results by module."""
    summary = Summary(dict(notes))

    def module(name: str) -> Module:
        return summary.modules.setdefault(_module_of(name), Module())

    for result in results:
        counted = module(result.test_id)
        if result.is_bad:
            counted.failed += 1
        elif result.status == "skipped":
            counted.skipped += 1
        else:
            counted.passed += 1
    for name, outcome in baseline.items():
        if outcome.status == "passed":
            module(name).passed_there += 1
    for result in comparison.regressions:
        module(result.test_id).differ += 1
    return summary


def _module_of(test_id: str) -> str:
    """`tests.window.test_rank` of `tests.window.test_rank.TestRank::test_ties[1]`."""
    names = test_id.partition("[")[0].removeprefix("::").replace("::", ".").split(".")
    last = next((number for number, name in enumerate(names) if name.startswith("test_")), len(names) - 1)
    return ".".join(names[: last + 1])


def write(summary: Summary, path: Path = FILE) -> None:
    lines = [f"# {name}: {text}" for name, text in summary.notes.items()]
    lines.append("# module, passed here, failed here, skipped here, passed in the baseline, of these not passed here")
    lines += [
        f"{name}\t{m.passed}\t{m.failed}\t{m.skipped}\t{m.passed_there}\t{m.differ}"
        for name, m in sorted(summary.modules.items())
    ]
    path.write_text("\n".join(lines) + "\n")


def read(path: Path = FILE) -> Summary:
    summary = Summary()
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            name, colon, text = line[1:].partition(":")
            if colon:
                summary.notes[name.strip()] = text.strip()
            continue
        name, *counts = line.split("\t")
        summary.modules[name] = Module(*map(int, counts))
    return summary


def add(modules: Iterable[Module]) -> Module:
    """The sum of several modules."""
    total = Module()
    for each in modules:
        total.passed += each.passed
        total.failed += each.failed
        total.skipped += each.skipped
        total.passed_there += each.passed_there
        total.differ += each.differ
    return total
