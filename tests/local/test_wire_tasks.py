"""The control calls about tasks, as a driver made of grpcio sees them; the test takes the place of Daft in the worker.

Not covered: what Daft makes of a task (test_queries), and what our own driver does with the answers (the pool's tests).
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest

from tests.local.wire_peers import RIGHT, SECONDS, InProcess, metadata, pb, refusal, worker_in_process

TABLE = pa.table({"x": [1, 2, 3]})
LONGEST_POLL_SECONDS = 2.0


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InProcess]:
    with worker_in_process(tmp_path) as worker:
        yield worker


def poll(worker: InProcess, after_version: int) -> pb.AwaitTaskReply:
    return worker.call(pb.AwaitTaskRequest(after_version=after_version))


def ends(reply: pb.AwaitTaskReply) -> list[tuple[str, str]]:
    return [(end.key, end.WhichOneof("outcome")) for end in reply.ended]


def quickest(call: Callable[[], object]) -> float:
    """The seconds of the shortest of a few calls: on a busy machine, any single one may take long."""
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        call()
        seconds.append(time.monotonic() - started)
    return min(seconds)


def wait_until_cancelled(worker: InProcess, key: str) -> None:
    assert worker.await_end(key).WhichOneof("outcome") == "cancelled"


# ---------------------------------------------------------------------------------------- AwaitTask


def test_a_poll_tells_everything_about_a_task_that_ended(worker: InProcess) -> None:
    worker.submit("q/1.1", payload=b"settings")
    command = worker.next("task")
    assert (command.key, command.query_id, command.task_id, command.attempt) == ("q/1.1", "q", 1, 1)
    assert (command.name, command.plan_hash, command.plan, command.payload, command.inputs) == (
        "Project", b"h".hex(), b"the plan", b"settings", []
    )  # fmt: skip
    for table in (TABLE, TABLE.slice(0, 0)):
        worker.server.put_output("q/1.1", [table], table.num_rows, table.nbytes)
    worker.server.finish_task("q/1.1", b"statistics")
    reply = poll(worker, 0)
    assert (reply.instance_id, reply.version, ends(reply)) == (worker.server.instance_id, 1, [("q/1.1", "succeeded")])
    succeeded = reply.ended[0].succeeded
    assert succeeded.stats == b"statistics"
    assert [output.num_rows for output in succeeded.outputs] == [3, 0]
    assert succeeded.outputs[0].size_bytes >= 24


def test_a_poll_that_is_repeated_gets_the_same_answer_and_a_newer_version_acknowledges(worker: InProcess) -> None:
    worker.submit("q/1.1", "q/2.1")
    for command in (worker.next("task"), worker.next("task")):
        worker.server.finish_task(command.key, b"")
    first = poll(worker, 0)
    assert (first.version, sorted(ends(first))) == (2, [("q/1.1", "succeeded"), ("q/2.1", "succeeded")])
    assert poll(worker, 0) == first  # the answer was lost: it is given again
    one = poll(worker, 1)
    assert (one.version, list(one.ended)) == (2, [first.ended[1]])
    assert (one.version, ends(poll(worker, 0))) == (2, ends(one)), "what was acknowledged is forgotten, and no more"
    worker.submit("q/3.1")
    worker.server.fail_task(worker.next("task").key, b"pickled", "it broke")
    after = poll(worker, 2)
    assert (after.version, ends(after)) == (3, [("q/3.1", "failed")])
    assert after.ended[0].failed == pb.TaskEnd.Failed(error=b"pickled", message="it broke")
    assert ends(poll(worker, 0)) == ends(after)


def test_two_polls_at_once_get_the_same_answer(worker: InProcess) -> None:
    answers: list[pb.AwaitTaskReply] = []
    threads = [threading.Thread(target=lambda: answers.append(poll(worker, 0))) for _ in range(2)]
    for thread in threads:
        thread.start()
    worker.submit("q/1.1")
    worker.server.cancelled_task(worker.next("task").key)
    for thread in threads:
        thread.join(SECONDS)
    assert [ends(answer) for answer in answers] == [[("q/1.1", "cancelled")]] * 2


def test_a_poll_with_nothing_to_tell_ends_empty_and_in_time(worker: InProcess) -> None:
    started = time.monotonic()
    reply = poll(worker, 0)
    seconds = time.monotonic() - started
    assert (reply.version, list(reply.ended)) == (0, [])
    assert LONGEST_POLL_SECONDS / 4 < seconds < SECONDS / 2


def test_a_poll_is_answered_as_soon_as_a_task_ends(worker: InProcess) -> None:
    versions = itertools.count()
    with worker.control() as stub:

        def end_a_task() -> None:
            version = next(versions)
            worker.submit(f"q/{version}.1")
            key = worker.next("task").key
            request = pb.AwaitTaskRequest(after_version=version)
            call = stub.AwaitTask.future(request, metadata=metadata(RIGHT), timeout=SECONDS)
            assert not call.done()
            worker.server.finish_task(key, b"")
            assert ends(call.result(SECONDS)) == [(key, "succeeded")]

        assert quickest(end_a_task) < LONGEST_POLL_SECONDS / 4


def test_a_version_of_another_process_acknowledges_nothing_and_is_answered_at_once(worker: InProcess) -> None:
    assert quickest(lambda: poll(worker, 57)) < LONGEST_POLL_SECONDS / 4
    reply = poll(worker, 57)
    assert (reply.instance_id, reply.version) == (worker.server.instance_id, 0)
    worker.submit("q/1.1")
    worker.server.finish_task(worker.next("task").key, b"")
    for version in (57, 2**64 - 1, 0):
        reply = poll(worker, version)
        assert (reply.version, ends(reply)) == (1, [("q/1.1", "succeeded")])


# --------------------------------------------------------------------------------------- SubmitTask


def test_a_task_that_is_submitted_again_runs_once_and_ends_once(worker: InProcess) -> None:
    assert not worker.submit("q/1.1", "q/1.1").bounced
    assert not worker.submit("q/1.1").bounced
    worker.server.finish_task(worker.next("task").key, b"")
    assert not worker.submit("q/1.1").bounced
    worker.submit("q/1.2")  # another attempt is another task
    assert worker.next("task").key == "q/1.2"
    worker.server.finish_task("q/1.2", b"")
    assert sorted(ends(poll(worker, 1))) == [("q/1.2", "succeeded")]
    assert worker.queues["task"].empty()


def test_a_task_whose_plan_is_unknown_comes_back_and_runs_once_the_plan_is_sent(worker: InProcess) -> None:
    task = pb.Task(key="q/1.1", name="Project", plan_hash=b"new")
    bounced = worker.call(pb.SubmitTaskRequest(tasks=[task])).bounced
    assert [(bounce.key, bounce.reason) for bounce in bounced] == [("q/1.1", pb.Bounce.UNKNOWN_PLAN)]
    assert not worker.call(pb.SubmitTaskRequest(tasks=[task], plans=[pb.Plan(hash=b"new", body=b"plan")])).bounced
    assert worker.next("task").plan == b"plan"
    task.key = "q/2.1"
    assert not worker.call(pb.SubmitTaskRequest(tasks=[task])).bounced, "a plan is sent once"
    assert worker.next("task").plan == b"plan"


def test_a_bounce_concerns_only_its_own_task(worker: InProcess) -> None:
    tasks = [pb.Task(key="q/1.1", plan_hash=b"?"), pb.Task(key="q/2.1", plan_hash=b"h")]
    reply = worker.call(pb.SubmitTaskRequest(tasks=tasks, plans=[pb.Plan(hash=b"h", body=b"p")]))
    assert [bounce.key for bounce in reply.bounced] == ["q/1.1"]
    assert worker.next("task").key == "q/2.1"


@pytest.mark.parametrize("key", ["", "q", "q/1", "q/1.1.1", "q/01.1", "/1.1", "q/1.4294967296", "q/-1.1"])
def test_a_malformed_key_is_refused_and_nothing_of_its_request_runs(worker: InProcess, key: str) -> None:
    error = refusal(worker.submit, "q/1.1", key)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert repr(key).strip("'") in error.details()
    assert worker.server.running_tasks() == 0
    worker.publish("q/2.1", TABLE)


def test_only_as_many_tasks_run_as_there_are_slots(worker: InProcess) -> None:
    worker.submit(*(f"q/{number}.1" for number in range(6)))
    running = [worker.next("task").key, worker.next("task").key]
    ended = []
    while running:
        assert worker.queues["task"].empty(), "a third task was started in two slots"
        assert worker.server.running_tasks() == 6 - len(ended)
        ended.append(running.pop(0))
        worker.server.finish_task(ended[-1], b"")
        if len(ended) + len(running) < 6:
            running.append(worker.next("task").key)
    assert sorted(ended) == [f"q/{number}.1" for number in range(6)]


def inputs(address: int, *tickets: str) -> list[pb.TaskInput]:
    partitions = [pb.InputPartition(ticket=ticket, address=address) for ticket in tickets]
    return [pb.TaskInput(source_id=5, partitions=partitions)]


def submit_with(worker: InProcess, sources: list[pb.TaskInput], *addresses: str) -> None:
    task = pb.Task(key="q/9.1", plan_hash=b"h", inputs=sources)
    plans = [pb.Plan(hash=b"h", body=b"p")]
    assert not worker.call(pb.SubmitTaskRequest(tasks=[task], addresses=addresses, plans=plans)).bounced


def test_a_workers_own_partitions_reach_its_tasks_in_order(worker: InProcess) -> None:
    tickets = worker.publish("q/1.1", *(pa.table({"x": [number] * number}) for number in range(5)))
    submit_with(worker, inputs(0, *reversed(tickets)), "")
    ((source_id, streams),) = worker.next("task").inputs
    assert source_id == 5
    assert [pa.table(stream).column("x").to_pylist() for stream in streams] == [[n] * n for n in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("ticket", "address", "gone"),
    [
        ("q/1.1:7", "", True),
        ("q/1.1:7", "itself", True),
        ("nonsense", "", True),
        ("q/1.1:0", "127.0.0.1:1", False),
        ("q/1.1:0", None, True),
    ],
    ids=["not here", "not there", "malformed", "unreachable", "no address"],
)
def test_an_input_that_cannot_be_read_is_named(worker: InProcess, ticket: str, address: str | None, gone: bool) -> None:
    worker.publish("q/1.1", TABLE)
    addresses = [worker.data_address if address == "itself" else address] if address is not None else []
    submit_with(worker, inputs(0, ticket), *addresses)
    end = worker.await_end("q/9.1")
    assert list(end.inputs_lost.tickets) == [ticket]
    assert (end.inputs_lost.gone, bool(end.inputs_lost.message)) == (gone, True)
    assert worker.server.running_tasks() == 0


def test_outputs_are_published_all_at_once_and_those_of_a_failed_task_never(worker: InProcess) -> None:
    worker.submit("q/1.1", "q/2.1")
    worker.keep_outputs()
    for key in (worker.next("task").key, worker.next("task").key):
        worker.server.put_output(key, [TABLE], 3, TABLE.nbytes)
    assert worker.server.memory_status().partitions == 0
    worker.server.fail_task("q/1.1", b"", "on purpose")
    worker.server.finish_task("q/2.1", b"")
    worker.await_end("q/2.1")
    assert worker.server.memory_status().partitions == 1


# ---------------------------------------------------------------- CancelTask, DropPartitions, EndQuery


def test_a_tiny_output_comes_inline_and_serves_as_input_from_there(worker: InProcess) -> None:
    worker.submit("q/1.1")
    worker.next("task")
    worker.server.put_output("q/1.1", [TABLE], 3, TABLE.nbytes)
    worker.server.finish_task("q/1.1", b"")
    (output,) = worker.await_end("q/1.1").succeeded.outputs
    assert worker.server.memory_status().partitions == 0
    partition = pb.InputPartition(ticket="q/1.1:0", address=7, stream=output.stream)
    submit_with(worker, [pb.TaskInput(source_id=5, partitions=[partition])])
    ((_, (stream,)),) = worker.next("task").inputs
    assert pa.table(stream).equals(TABLE)


def test_a_running_task_is_cancelled_by_its_host_and_a_waiting_one_at_once(tmp_path: Path) -> None:
    with worker_in_process(tmp_path, cpus=1) as worker:
        worker.submit("q/1.1")
        worker.next("task")
        worker.submit("q/2.1", "q/3.1")
        worker.call(pb.CancelTaskRequest(keys=["q/2.1", "q/1.1", "q/3.1"]))
        assert worker.next("cancel") == "q/1.1"
        wait_until_cancelled(worker, "q/2.1")
        wait_until_cancelled(worker, "q/3.1")
        assert worker.server.running_tasks() == 1
        worker.server.cancelled_task("q/1.1")
        wait_until_cancelled(worker, "q/1.1")
        assert worker.queues["cancel"].empty()
        worker.publish("q/4.1", TABLE)


def test_a_task_that_is_cancelled_twice_ends_once(worker: InProcess) -> None:
    worker.submit("q/1.1")
    worker.next("task")
    for _ in range(2):
        worker.call(pb.CancelTaskRequest(keys=["q/1.1"]))
        worker.server.cancelled_task("q/1.1")
    worker.server.finish_task("q/1.1", b"too late")
    worker.server.fail_task("q/1.1", b"", "too late")
    assert ends(poll(worker, 0)) == [("q/1.1", "cancelled")]


@pytest.mark.parametrize(
    "request_",
    [
        pb.CancelTaskRequest(keys=["never/1.1", "nonsense", ""]),
        pb.CancelTaskRequest(),
        pb.DropPartitionsRequest(tickets=["never/1.1:0", "never/1.1:4294967295"]),
        pb.DropPartitionsRequest(),
        pb.EndQueryRequest(query_id="never"),
        pb.EndQueryRequest(),
    ],
    ids=lambda request: f"{type(request).__name__} {request}".replace("\n", " "),
)
def test_unknown_tasks_partitions_and_queries_are_fine(worker: InProcess, request_: Any) -> None:
    tickets = worker.publish("q/1.1", TABLE)
    assert worker.call(request_).instance_id == worker.server.instance_id
    assert worker.server.memory_status().partitions == 1
    assert worker.queues["cancel"].empty()
    for _ in range(2):  # the second finds nothing any more
        worker.call(pb.DropPartitionsRequest(tickets=tickets))
        assert worker.server.memory_status().partitions == 0


def test_a_malformed_ticket_is_refused_by_name_and_nothing_is_dropped(worker: InProcess) -> None:
    (ticket,) = worker.publish("q/1.1", TABLE)
    error = refusal(worker.call, pb.DropPartitionsRequest(tickets=[ticket, "nonsense"]))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "nonsense" in error.details()
    assert worker.server.memory_status().partitions == 1


def test_the_end_of_a_query_cancels_its_tasks_and_leaves_others_and_partitions_alone(tmp_path: Path) -> None:
    with worker_in_process(tmp_path, cpus=3) as worker:
        worker.publish("q/1.1", TABLE)
        worker.submit("q/2.1", "qq/3.1", "q/q/4.1")
        assert sorted(worker.next("task").key for _ in range(3)) == ["q/2.1", "q/q/4.1", "qq/3.1"]
        worker.submit("q/5.1")
        worker.call(pb.EndQueryRequest(query_id="q"))
        assert (worker.next("cancel"), worker.next("end_query")) == ("q/2.1", "q")
        worker.server.cancelled_task("q/2.1")
        wait_until_cancelled(worker, "q/5.1")
        assert worker.server.running_tasks() == 2
        assert worker.queues["cancel"].empty()
        assert worker.server.memory_status().partitions == 1


# -------------------------------------------------------------------------------------------- Drain


def test_a_draining_worker_gives_tasks_back_and_finishes_the_running_ones(worker: InProcess) -> None:
    worker.submit("q/1.1")
    worker.next("task")
    worker.call(pb.DrainRequest(reason="scaled down"))
    assert worker.next("stop") == "scaled down"
    bounced = worker.submit("q/2.1").bounced
    assert [(bounce.key, bounce.reason) for bounce in bounced] == [("q/2.1", pb.Bounce.DRAINING)]
    worker.server.finish_task("q/1.1", b"")
    assert ends(poll(worker, 0)) == [("q/1.1", "succeeded")]
