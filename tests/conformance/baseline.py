"""Another runner's results of the same tests, and how ours differ from them.

A baseline is a table of test id, status and seconds, divided by tabs, as it is or compressed with xz.
Its tests may be those of a neighbouring version: what only one side knows is no failure.
"""

from __future__ import annotations

import lzma
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .results import Result, canonical_id

_SEVERITY = ("passed", "skipped", "failed", "error")
_OTHER_NAMES = {"failure": "failed"}

DELIBERATE = {
    "tests/dataframe/test_explain.py::test_explain_with_sort_merged_join": (
        "a sort-merge join loses rows of repeated keys in Daft, so a hash join runs here, and explain() shows it"
    ),
}
"""Tests that expect what daft_k8s does otherwise on purpose, and why."""


@dataclass(frozen=True)
class Outcome:
    status: str
    seconds: float


@dataclass
class Comparison:
    counts: Counter[str]
    regressions: list[Result] = field(default_factory=list)  # pass there, do not pass here
    deliberate: list[Result] = field(default_factory=list)  # as these, and named in DELIBERATE
    both_fail: list[Result] = field(default_factory=list)
    skipped_here: list[Result] = field(default_factory=list)  # pass there: they show nothing here
    only_here: list[Result] = field(default_factory=list)
    only_there: list[str] = field(default_factory=list)
    seconds_here: float = 0.0  # of the tests that pass on both sides
    seconds_there: float = 0.0


def read_baseline(path: Path) -> dict[str, Outcome]:
    """Reads a table.

    Raises:
        ValueError: If a line has another form.
    """
    text = lzma.decompress(path.read_bytes()).decode() if path.suffix == ".xz" else path.read_text()
    outcomes: dict[str, Outcome] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.rsplit("\t", 2)
        if len(columns) != 3:
            raise ValueError(f"{path}, line {number}: expected test id, status and seconds, divided by tabs: {line!r}")
        name, status, seconds = columns
        add_outcome(outcomes, canonical_id(name), Outcome(_OTHER_NAMES.get(status, status), float(seconds)))
    return outcomes


def add_outcome(outcomes: dict[str, Outcome], name: str, outcome: Outcome) -> None:
    """Where two tests have one name, the worse outcome counts."""
    known = outcomes.get(name)
    if known is None or _SEVERITY.index(outcome.status) > _SEVERITY.index(known.status):
        outcomes[name] = outcome


def write_baseline(path: Path, results: Iterable[Result]) -> None:
    """Writes a table that `read_baseline` reads."""
    text = "".join(
        f"{result.test_id}\t{result.status}\t{result.seconds:.3f}\n"
        for result in sorted(results, key=lambda result: result.test_id)
    )
    path.write_bytes(lzma.compress(text.encode()) if path.suffix == ".xz" else text.encode())


def covers(paths: Iterable[str], ignored: Iterable[str], name: str) -> bool:
    """Whether a test of this id lies below one of the paths and none of the ignored ones."""
    dotted = name.removeprefix("::") + "."  # a module that was skipped as a whole is ::its.name

    def below(path: str) -> bool:
        module = path.partition("::")[0].rstrip("/").replace("/", ".").removesuffix(".py")
        return dotted.replace("::", ".").startswith(module + ".")

    return any(map(below, paths)) and not any(map(below, ignored))


def compare(results: Iterable[Result], baseline: Mapping[str, Outcome]) -> Comparison:
    """Sorts our results by what the baseline says of the same tests.

    Args:
        results: What ran here.
        baseline: What should have run here, by test id.
    """
    ours = list(results)
    comparison = Comparison(Counter(result.status for result in ours))
    pairs = _pair(ours, baseline)
    for result in ours:
        name = pairs.get(result.nodeid)
        there = None if name is None else baseline[name]
        if there is None and result.is_bad and _is_module_of(result.nodeid, baseline):
            comparison.regressions.append(result)
        elif there is None:
            comparison.only_here.append(result)
        elif result.is_bad and result.nodeid in DELIBERATE:
            comparison.deliberate.append(result)
        elif result.is_bad:
            (comparison.regressions if there.status == "passed" else comparison.both_fail).append(result)
        elif there.status == "passed" and result.status == "skipped":
            comparison.skipped_here.append(result)
        elif there.status == "passed":
            comparison.seconds_here += result.seconds
            comparison.seconds_there += there.seconds
    comparison.only_there = sorted(set(baseline) - set(pairs.values()))
    return comparison


def _is_module_of(nodeid: str, baseline: Mapping[str, Outcome]) -> bool:
    """Whether it is no test but a whole module that could not be collected, with tests that pass there."""
    return "::" not in nodeid and any(
        outcome.status == "passed" and covers([nodeid], (), name) for name, outcome in baseline.items()
    )


def _pair(results: Iterable[Result], baseline: Mapping[str, Outcome]) -> dict[str, str]:
    """The baseline's id for each of our node ids.

    The order of the parameters in an id depends on pytest's version, so what has no exact partner is
    paired with an id of the same parameters in another order: best outcome with best outcome where
    there are several.
    """
    pairs: dict[str, str] = {}
    rest: dict[str, list[Result]] = {}
    for result in results:
        if result.test_id in baseline:
            pairs[result.nodeid] = result.test_id
        else:
            rest.setdefault(_unordered(result.test_id), []).append(result)
    found = set(pairs.values())
    there: dict[str, list[str]] = {}
    for name in baseline:
        if name not in found:
            there.setdefault(_unordered(name), []).append(name)
    for key, group in rest.items():
        names = sorted(there.get(key, ()), key=lambda name: _SEVERITY.index(baseline[name].status))
        group.sort(key=lambda result: _SEVERITY.index(result.status))
        pairs |= {result.nodeid: name for result, name in zip(group, names, strict=False)}
    return pairs


def _unordered(name: str) -> str:
    test, _, parameters = name.partition("[")
    return f"{test}[{'-'.join(sorted(parameters.removesuffix(']').split('-')))}]"
