"""The schema of the event log: code, docs/event-log.md, the extension's stubs and its core agree.

Not covered: how lines are written (test_event_log.py).
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from daft_k8s._native import FactKind
from daft_k8s.errors import Loss
from daft_k8s.observe import event_schema as schema
from daft_k8s.pool_news import ExitCause

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "event-log.md").read_text()
KINDS = sorted(schema.FIELDS, key=str)
NAMES_OF_THE_CORE = {"query": "query_id", "worker": "worker_id", "fail_kind": "loss"}


def quoted(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", text))


def tables() -> list[dict[str, tuple[str, ...]]]:
    """The tables of the page: what is quoted in the second cell of each row, by the first."""
    found: list[dict[str, tuple[str, ...]]] = []
    for line in PAGE.splitlines():
        cells = line.split("|")
        if len(cells) < 5:
            continue
        if set(cells[1]) == {"-"}:
            found.append({})
        elif name := quoted(cells[1]):
            found[-1][name[0]] = quoted(cells[2])
    return found


FILES, LINE, FACT, FACTS, LOG = tables()


@given(
    kind=st.sampled_from(KINDS),
    session=st.text(),
    seconds=st.floats(0, 4e9),
    numbers=st.lists(st.integers(0, 2**63), min_size=6, max_size=6),
    texts=st.lists(st.none() | st.text(), min_size=6, max_size=6),
)
def test_a_line_has_exactly_the_fields_of_the_page(
    kind: FactKind, session: str, seconds: float, numbers: list[int], texts: list[str | None]
) -> None:
    names = ("task", "attempt", "launch", "count", "sequence", "cause")
    others = ("query_id", "worker_id", "reason", "exit_cause", "loss", "cause_name")
    fact: Any = SimpleNamespace(kind=kind, **dict(zip(names, numbers, strict=True)))
    vars(fact).update(zip(others, texts, strict=True))
    line = schema.of_fact(fact, session_id=session, seconds=seconds)
    assert "\n" not in line and "\r" not in line
    values = json.loads(line)
    assert list(values) == [*LINE, *FACT, *FACTS[values["kind"]]]
    assert values["session"] == session
    assert abs(datetime.fromisoformat(values["time"].replace("Z", "+00:00")).timestamp() - seconds) < 1e-5
    for name in (*FACT, *FACTS[values["kind"]]):
        assert values[name] == getattr(fact, name)


def test_the_page_has_every_kind_and_no_other() -> None:
    assert {schema.NAMES[kind]: fields for kind, fields in schema.FIELDS.items()} == FACTS
    assert dict(schema.OF_THE_LOG) == LOG
    assert (tuple(LINE), tuple(FACT)) == (schema.OF_EVERY_LINE, schema.OF_EVERY_FACT)
    assert f"the version of this page, {schema.VERSION}." in PAGE
    for cause in get_args(ExitCause):
        assert f"`{cause}`" in PAGE
    for loss in Loss:
        assert not loss.value or f"`{loss.value}`" in PAGE


def test_the_schema_has_every_kind_of_the_extension() -> None:
    assert {name.lower() for name in vars(FactKind) if name.isupper()} == set(schema.NAMES.values())


def test_each_kind_has_the_fields_that_the_core_sets() -> None:
    """The comments of the core's kinds name them, in its own words."""
    text = (ROOT / "rust_ext" / "core" / "src" / "journal" / "fact.rs").read_text()
    body = text.partition("pub enum FactKind {")[2].partition("\n}")[0]
    found = {}
    for comment, name in re.findall(r"/// (.*)\n\s+(\w+),", body):
        kind = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
        found[kind] = {NAMES_OF_THE_CORE.get(field, field) for field in quoted(comment)}
    assert {schema.NAMES[kind]: set(fields) for kind, fields in schema.FIELDS.items()} == found


@given(st.sampled_from(sorted(schema.OF_THE_LOG)), st.integers(0))
def test_a_line_of_the_log_has_the_fields_of_its_kind(kind: str, number: int) -> None:
    fields = schema.OF_THE_LOG[kind]
    line = schema.of_log(kind, session_id="s", seconds=0, values=[(name, number) for name in fields])
    assert list(json.loads(line)) == [*LINE, *LOG[kind]]
