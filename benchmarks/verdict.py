"""Right or wrong: an engine's answers against the reference, and against native Daft where they differ."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.parquet as pq

from benchmarks.suite import QueryRun, SuiteRun
from benchmarks.tpch.answers import Reference, ordering_of
from benchmarks.tpch.compare import Ordering, difference

RIGHT = "right"
WRONG = "wrong"
DAFT_WRONG = "Daft wrong too"
FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The word in the table, and the reason where it is not `right`."""

    word: str
    detail: str = ""


def judge(run: QueryRun, reference: Reference, *, native: QueryRun | None) -> Verdict:
    """Compares one answer with the reference.

    Args:
        run: The answer to judge.
        reference: The right answers.
        native: Native Daft's answer to the same query; if it is wrong in the same way, Daft is to blame and not
            the runner.
    """
    if run.error is not None or run.answer is None:
        return Verdict(word=FAILED, detail=run.error or "no answer")
    ordering = ordering_of(run.number)
    answer = pq.read_table(run.answer)
    problem = difference(answer, reference.answer(run.number), ordering)
    if problem is None:
        return Verdict(word=RIGHT)
    if native is not None and native is not run and native.answer is not None:
        # Daft's own answer has no rows beyond the LIMIT, so rows that tie at the cut must agree as well.
        same = difference(answer, pq.read_table(native.answer), Ordering(keys=ordering.keys))
        if same is None:
            return Verdict(word=DAFT_WRONG, detail=problem)
    return Verdict(word=WRONG, detail=problem)


def judge_all(suite: SuiteRun, reference: Reference, *, native: SuiteRun | None) -> dict[int, Verdict]:
    """A verdict for every query of a suite."""
    return {
        number: judge(run, reference, native=None if native is None else native.queries.get(number))
        for number, run in suite.queries.items()
    }
