"""The summary of a session: it arrives as it was, it stays small, and a forged one harms nobody."""

from __future__ import annotations

import asyncio
import json
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from daft_k8s.cli.status import Seen, show
from daft_k8s.kube.inventory.sessions import SessionView
from daft_k8s.observe.session_summary import (
    MAX_BYTES,
    MAX_QUERIES,
    MAX_WORKERS,
    QuerySummary,
    SessionSummary,
    WorkerSummary,
    decode,
    encode,
)
from daft_k8s.wire.calls import Done, ReportMemory
from daft_k8s.worker import memory_reports

LARGE = 1 << 40


def test_a_summary_arrives_as_it_was() -> None:
    whole = SessionSummary(
        ready=1,
        wanted=2,
        running=3,
        waiting=4,
        done=5,
        failed=6,
        held_bytes=7,
        spilled_bytes=8,
        running_queries=1,
        queries=(QuerySummary("swift-fox", 9, 10, 11),),
        workers={"worker-0": WorkerSummary(12, 13, 14, 15)},
    )
    assert decode(encode(whole)) == whole
    assert decode(encode(SessionSummary())) == SessionSummary()


def test_a_summary_stays_small_whatever_the_session_does() -> None:
    workers = {f"worker-{number}": WorkerSummary(LARGE, LARGE, LARGE, LARGE) for number in range(1000)}
    queries = tuple(QuerySummary("q" * 500, number, LARGE, LARGE) for number in range(100))
    text = encode(SessionSummary(*[LARGE] * 8, running_queries=100, queries=queries, workers=workers))
    assert len(text) <= MAX_BYTES
    told = decode(text)
    assert told is not None
    assert [query.seconds for query in told.queries] == list(range(99, 99 - MAX_QUERIES, -1))
    assert (len(told.workers), told.running_queries) == (MAX_WORKERS, 100)


def test_names_of_any_length_cost_the_details_and_not_the_totals() -> None:
    workers = {f"{'é' * 60}{number}": WorkerSummary(1) for number in range(MAX_WORKERS)}
    text = encode(SessionSummary(done=7, workers=workers))
    assert len(text) <= MAX_BYTES
    assert decode(text) == SessionSummary(done=7)


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "7", '{"version":2}', '{"version":1}', '{"version":1,"queries":[],"workers":{},"new":1}',
     '{"version":1,"queries":[[1]],"workers":{}}', '{"version":1,"queries":[],"workers":{"a":"b"}}',
     '{"version":1,"queries":[],"workers":{},"held_bytes":1e999}', '{"version":1,"queries":[],"workers":{},"done":-1}',
     '{"version":1,"queries":[],"workers":{"a":[NaN]}}', '{"version":1,"queries":[["q",Infinity,0,0]],"workers":{}}',
     '{"version":1,"queries":[],"workers":{},"held_bytes":1' + "0" * 400 + "}", "[" * 9000,
     '{"version":1,' + " " * 10000],
)  # fmt: skip
def test_what_is_no_summary_is_none(text: object) -> None:
    assert decode(text) is None


JUNK: list[Any] = [None, True, -1, 10**400, 1e999, float("nan"), "x" * 500, "\ud800\x1b]0;title\x07", [], {}, [[]]]


def test_a_forged_summary_shows_something_or_nothing_and_never_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A fuzzer in small, through `status` as well: the Lease's annotation may be anything."""
    random = Random(3)
    good = json.loads(encode(SessionSummary(queries=(QuerySummary("q", 1, 2, 3),), workers={"w": WorkerSummary(1)})))
    seen = 0
    for _ in range(400):
        values = json.loads(json.dumps(good))
        for key in random.sample(sorted(values), random.randint(0, 2)):
            values[key] = random.choice([*JUNK, [["q", *JUNK[:3]]], [[random.choice(JUNK), 1, 2, 3]], {"w": JUNK[:4]}])
        summary = decode(json.dumps(values))
        seen += summary is not None
        show(Seen("here", [SessionView("s", "outside", "", 1.0, live=summary)], []), "text")
        show(Seen("here", [SessionView("s", "outside", "", 1.0, live=summary)], []), "json")
    assert 20 < seen < 400
    text = capsys.readouterr().out
    text.encode()
    assert "\x1b" not in text


def test_a_worker_reports_its_memory_only_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [0, 50, 51, 90]  # MiB, one for each look
    reports: list[ReportMemory] = []

    class Server:
        def memory_status(self) -> Any:
            if not sizes:
                raise asyncio.CancelledError
            held = sizes.pop(0) << 20
            return SimpleNamespace(resident_bytes=0, store_bytes=held, spilled_bytes=0)

    async def call(report: ReportMemory) -> Done:
        reports.append(report)
        if len(reports) == 1:
            raise memory_reports.DriverCallError("the driver is away")
        return Done()

    monkeypatch.setattr(memory_reports, "call_driver", call)
    monkeypatch.setattr(memory_reports, "INTERVAL_SECONDS", 0)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(memory_reports.report_memory(Server()))
    assert [report.held_bytes >> 20 for report in reports] == [50, 90]
