"""How the facts of a session's journal cross to Python.

Not covered: which facts there are, and their replay (rust_ext/core).
"""

from __future__ import annotations

from daft_k8s._native import Fact, FactKind
from tests.unit.test_native_callbacks import Launcher, Loop, manager_of


def test_facts_are_read_on_from_where_the_last_reading_ended() -> None:
    with manager_of(Loop(), Launcher()) as manager:
        manager.begin_query("q")
        manager.set_desired_workers(1)
        first = manager.facts_since(0)
        assert [fact.kind for fact in first.facts] == [FactKind.QUERY_BEGAN, FactKind.WORKER_LAUNCHED]
        assert (first.missed, first.is_complete) == (0, True)
        assert manager.facts_since(first.read_to).facts == []
        manager.worker_exited("worker-0", 1, "killed for its memory", True, "oom")
        manager.end_query("q")
        second = manager.facts_since(first.read_to)
        ended, *_, last = second.facts
        assert (ended.kind, ended.worker_id, ended.launch) == (FactKind.PROCESS_ENDED, "worker-0", 1)
        assert (ended.exit_cause, ended.reason) == ("oom", "killed for its memory")
        assert (ended.cause_name, ended.query_id, ended.loss) == ("Exited", None, None)
        assert first.read_to < ended.cause < ended.sequence
        assert (last.kind, last.query_id, last.cause) == (FactKind.QUERY_ENDED, "q", last.sequence)
        assert 0 <= ended.at_seconds <= last.at_seconds <= second.now_seconds


def test_a_reader_that_comes_too_late_is_told_how_much_it_missed() -> None:
    with manager_of(Loop(), Launcher()) as manager:
        for number in range(70_000):
            manager.begin_query(str(number))
        facts: list[Fact] = []
        missed = read_to = pages = 0
        while True:
            snapshot = manager.facts_since(read_to)
            facts += snapshot.facts
            missed, read_to, pages = missed + snapshot.missed, snapshot.read_to, pages + 1
            if snapshot.is_complete:
                break
        assert missed + len(facts) == read_to == 70_000
        assert missed == 70_000 - 65_536
        assert pages > 1, "the session is not held up while all of it is read"
        assert [fact.query_id for fact in facts] == [str(number) for number in range(missed, 70_000)]


def test_kinds_are_values() -> None:
    kinds = {FactKind.TASK_SENT: 1}
    assert kinds[FactKind.TASK_SENT] == 1
    assert FactKind.TASK_SENT != FactKind.TASK_LOST
