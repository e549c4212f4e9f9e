"""Whether two answers are the same: as multisets, and in order where an order was asked for."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from tests.differential.engines import Engine, Engines, Outcome
from tests.differential.known_daft_defects import defect_of
from tests.differential.pipelines import BAG, Answer, Pipeline

SIGNIFICANT_DIGITS = 9
SHOWN_CHARACTERS = 1000
REFUSED = "UnsupportedError"
UNDETERMINED = "the native runner gives several answers"
NATIVE_RUNS = 30
"""Runs of the native engine that show if a pipeline has a single answer, after it seemed to differ."""
DAFTS_OWN = "Daft's own"


class Verdict:
    """`difference` is None where both agree; `outcome` is for statistics."""

    def __init__(self, outcome: str, difference: str | None = None) -> None:
        self.outcome = outcome
        self.difference = difference


def compare(pipeline: Pipeline, engines: Engines) -> Verdict:
    """Runs a pipeline on both engines.

    Where they differ and Daft is not known to be at fault, Daft on Ray is asked, if it is there.
    """
    verdict = difference_on(pipeline, engines, engines.ours)
    if verdict.difference is None:
        return verdict
    known = defect_of(pipeline, verdict.difference, engines.native)
    if known is not None:
        return Verdict(f"{DAFTS_OWN}: {known}")
    if has_several_answers(pipeline, engines.native):
        return Verdict(UNDETERMINED)
    if engines.ray is not None:
        on_ray = difference_on(pipeline, engines, engines.ray)
        if on_ray.difference is not None:
            return Verdict(DAFTS_OWN, f"{verdict.difference}\nand on Ray: {on_ray.difference}")
    return verdict


def has_several_answers(pipeline: Pipeline, native: Engine) -> bool:
    """True if the native engine gives the rows of a pipeline differently from run to run.

    Daft's running windows count rows with equal order keys one after the other, in the order in which they come.
    """
    found = set()
    for _ in range(NATIVE_RUNS):
        answer = native.ask(pipeline, whole=True)
        if isinstance(answer, tuple):
            return False
        found.add(tuple(sorted(_rows(pipeline, answer))))
        if len(found) > 1:
            return True
    return False


def difference_on(pipeline: Pipeline, engines: Engines, engine: Engine) -> Verdict:
    """Compares one engine's answer with the native one's."""
    ours = engine.ask(pipeline)
    if isinstance(ours, tuple) and ours[0] == REFUSED:
        return Verdict("refused")
    native = engines.native.ask(pipeline)
    if isinstance(native, tuple) and isinstance(ours, tuple):
        if ours[0] in ("hangs", "dies"):
            return Verdict("difference", f"native raises {native}, ours {ours}")
        return Verdict(f"both raise {native[0]}")
    if isinstance(native, tuple) or isinstance(ours, tuple):
        return Verdict("difference", f"native: {_short(native)}\nours:   {_short(ours)}")
    names = [name for name, _ in native.columns]
    if set(names) != set(pipeline.schema) or len(names) != len(pipeline.schema):
        raise ValueError(f"the generator expected the columns {list(pipeline.schema)}, not {names}:\n{pipeline!r}")
    if native.columns != ours.columns:
        return Verdict("difference", f"columns: native {native.columns}, ours {ours.columns}")
    if pipeline.ending.sample is not None or pipeline.ending.cut is not None:
        whole = engines.native.ask(pipeline, whole=True)
        if isinstance(whole, tuple):
            return Verdict("both raise")
        difference = _difference_of_part(pipeline, native, ours, whole)
    else:
        difference = _difference(pipeline, native, ours)
    return Verdict("equal" if difference is None else "difference", difference)


def _difference(pipeline: Pipeline, native: Answer, ours: Answer) -> str | None:
    if isinstance(native.rows, int) or isinstance(ours.rows, int):
        return None if native.rows == ours.rows else f"counts: native {native.rows}, ours {ours.rows}"
    expected, found = (Counter(_rows(pipeline, answer)) for answer in (native, ours))
    if expected != found:
        missing, extra = list((expected - found).elements()), list((found - expected).elements())
        return f"missing here: {missing[:10]} ({len(missing)})\nonly here: {extra[:10]} ({len(extra)})"
    return _difference_of_order(pipeline, native, ours)


def _difference_of_order(pipeline: Pipeline, native: Answer, ours: Answer) -> str | None:
    names = [name for name, _, _ in pipeline.ending.order]
    if isinstance(native.rows, int) or isinstance(ours.rows, int):
        return None
    keys = [[tuple(_canonical(row[name]) for name in names) for row in answer.rows] for answer in (native, ours)]
    # Files are written side by side, and listed as they get ready.
    return (
        None
        if not names or pipeline.ending.asked == "written" or keys[0] == keys[1]
        else f"order: native {keys[0][:30]}\nours   {keys[1][:30]}"
    )


def _difference_of_part(pipeline: Pipeline, native: Answer, ours: Answer, whole: Answer) -> str | None:
    assert not isinstance(whole.rows, int)
    counts = [answer.rows if isinstance(answer.rows, int) else len(answer.rows) for answer in (native, ours)]
    if pipeline.ending.cut is not None:
        offset, limit = pipeline.ending.cut
        due = min(limit, max(0, len(whole.rows) - offset))
        if counts[1] != due:
            return f"{counts[1]} rows here, {due} are due (native: {counts[0]})"
    elif pipeline.ending.sample in (0.0, 1.0) and counts[1] != len(whole.rows) * pipeline.ending.sample:
        return f"{counts[1]} rows here in a sample of {pipeline.ending.sample} of {len(whole.rows)}"
    if isinstance(ours.rows, int):
        return None
    extra = Counter(_rows(pipeline, ours)) - Counter(_rows(pipeline, whole))
    if extra:
        return f"rows that should not be: {list(extra.elements())[:10]}"
    return _difference_of_order(pipeline, native, ours)


def _rows(pipeline: Pipeline, answer: Answer) -> list[str]:
    assert not isinstance(answer.rows, int)
    bags = {name for name, kind in pipeline.schema.items() if kind == BAG}
    return [
        repr({name: _bag(value) if name in bags else _canonical(value) for name, value in row.items()})
        for row in answer.rows
    ]


def _bag(value: Any) -> Any:
    return None if value is None else sorted(map(repr, map(_canonical, value)))


def _canonical(value: Any) -> Any:
    """A value whose text is the same wherever the value is."""
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0  # no negative zero
    if isinstance(value, (list, tuple)):
        return [_canonical(each) for each in value]
    if isinstance(value, dict):
        return {name: _canonical(each) for name, each in value.items()}
    return value


def _short(outcome: Outcome) -> str:
    text = repr(outcome)
    return text if len(text) <= 2 * SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ... {text[-SHOWN_CHARACTERS:]}"
