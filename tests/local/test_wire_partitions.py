"""Partitions over Arrow Flight with peers that are not ours.

pyarrow gets and puts them; a grpcio proxy counts what our own client sends. Not covered: spilling and speed (the data
plane's own tests and the benchmarks).
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import re
import struct
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from pyarrow import flight

from tests.local.wire_peers import (
    FLIGHT_SERVICE,
    RIGHT,
    SECONDS,
    InProcess,
    Peer,
    channel,
    flight_options,
    metadata,
    pb,
    raw_call,
    refusal,
    ticket_message,
    worker_in_process,
)

NUMBERS = pa.table({"x": pa.array(range(100_000), pa.int64())})


def column(values: list[Any], kind: pa.DataType) -> pa.Table:
    return pa.table({"c": pa.array(values, kind)})


def several_batches() -> pa.Table:
    batches = [pa.record_batch({"x": [number] * number, "s": [str(number)] * number}) for number in (1, 0, 500, 3)]
    return pa.Table.from_batches([batches[1].slice(0, 0).cast(batches[0].schema), *batches[:1], *batches[2:]])


def wide() -> pa.Table:
    return pa.table({f"c{number}": [number, None, -number] for number in range(300)})


TABLES: dict[str, pa.Table] = {
    "numbers": NUMBERS,
    "nulls": pa.table({"i": pa.array([1, None, 3], pa.int32()), "f": pa.array([None, 0.5, float("inf")])}),
    "only nulls": pa.table({"n": pa.nulls(5)}),
    "bool": column([True, None, False] * 11, pa.bool_()),
    "string": column(["", "ü", None, "x" * 1000], pa.string()),
    "large string": column(["", "ü", None, "x" * 1000], pa.large_string()),
    "large binary": column([b"\0", None, b"abc"], pa.large_binary()),
    "string view": column(["short", None, "longer than twelve bytes"], pa.string_view()),
    "fixed binary": column([b"1234", None], pa.binary(4)),
    "decimal": column([decimal.Decimal("1.23"), None, decimal.Decimal("-99999.99")], pa.decimal128(15, 2)),
    "date": column([datetime.date(1995, 3, 15), None], pa.date32()),
    "timestamp": column([datetime.datetime(2020, 1, 1, 12), None], pa.timestamp("us", "Europe/Paris")),
    "duration": column([datetime.timedelta(seconds=3), None], pa.duration("ns")),
    "list": column([[1, None], [], None, [3]], pa.large_list(pa.int64())),
    "fixed list": column([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
    "struct": column([{"a": 1, "b": "x"}, None], pa.struct([("a", pa.int8()), ("b", pa.string())])),
    "nested": column([[{"k": [["deep"], None]}], None], pa.list_(pa.struct([("k", pa.list_(pa.list_(pa.string())))]))),
    "map": column([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "dictionary": pa.table({"c": pa.array(["b", "a", None, "b"]).dictionary_encode()}),
    "extension": pa.table({"c": pa.array([b"0123456789abcdef", None], pa.uuid())}),
    "no rows": NUMBERS.slice(0, 0),
    "no rows, no batch": NUMBERS.schema.empty_table(),
    "slice": NUMBERS.slice(77, 1001),
    "several batches": several_batches(),
    "wide": wide(),
    "metadata": NUMBERS.slice(0, 5).replace_schema_metadata({"of": "the schema"}),
}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with worker_in_process(tmp_path_factory.mktemp("worker")) as worker:
        worker.publish("known/1.1", NUMBERS)
        yield worker


def get(worker: InProcess, ticket: str | bytes) -> pa.Table:
    with worker.flight() as client:
        return client.do_get(flight.Ticket(ticket), flight_options()).read_all()


def put(peer: Peer, table: pa.Table, *path: str, **write_options: Any) -> None:
    options = flight.FlightCallOptions(
        timeout=SECONDS,
        headers=[(b"authorization", RIGHT.encode())],
        write_options=pa.ipc.IpcWriteOptions(**write_options),
    )
    with peer.flight() as client:
        writer, reader = client.do_put(flight.FlightDescriptor.for_path(*path), table.schema, options)
        with writer:
            writer.write_table(table)
            writer.done_writing()
            reader.read()


@pytest.mark.parametrize("name", TABLES)
def test_pyarrow_gets_the_very_table_that_a_task_published(worker: InProcess, name: str) -> None:
    table = TABLES[name]
    key = f"got {name}/1.1"
    (ticket,) = worker.publish(key, table)
    fetched = get(worker, ticket)
    fetched.validate(full=True)
    assert fetched.equals(table, check_metadata=True)
    assert get(worker, ticket) == fetched, "a partition may be read often"


@pytest.mark.parametrize("name", TABLES)
def test_what_pyarrow_puts_comes_back_and_can_be_a_tasks_input(worker: InProcess, name: str) -> None:
    table = TABLES[name]
    ticket = f"put {name}/1.1:0"
    put(worker, table, ticket)
    assert get(worker, ticket).equals(table, check_metadata=True)
    source = pb.TaskInput(source_id=1, partitions=[pb.InputPartition(ticket=ticket)])
    task = pb.Task(key=f"use {name}/1.1", plan_hash=b"h", inputs=[source])
    worker.call(pb.SubmitTaskRequest(tasks=[task], addresses=[""], plans=[pb.Plan(hash=b"h", body=b"p")]))
    command = worker.next("task")
    ((_, (stream,)),) = command.inputs
    assert (stream.num_rows, pa.table(stream).equals(table, check_metadata=True)) == (table.num_rows, True)
    worker.server.finish_task(command.key, b"")


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_put_is_refused_with_the_reason(worker: InProcess, codec: str) -> None:
    with pytest.raises(pa.ArrowInvalid, match=f"{codec} IPC decompression"):
        put(worker, NUMBERS, f"{codec}/1.1:0", compression=codec)
    with pytest.raises(KeyError):
        get(worker, f"{codec}/1.1:0")


def test_a_dictionary_that_changes_between_batches_survives(worker: InProcess) -> None:
    chunks = [pa.array(values).dictionary_encode() for values in (["a", "b"], ["c", "b", "c"], ["a"])]
    table = pa.table({"c": pa.chunked_array(chunks)})
    (ticket,) = worker.publish("dictionaries/1.1", table)
    assert get(worker, ticket).column("c").to_pylist() == ["a", "b", "c", "b", "c", "a"]


def test_a_partition_of_many_messages_arrives_whole(worker: InProcess) -> None:
    table = pa.table({"x": pa.array(range(12_000_000), pa.int64())})  # 96 MB in one batch
    (ticket,) = worker.publish("large/1.1", table)
    assert get(worker, ticket) == table
    worker.call(pb.DropPartitionsRequest(tickets=[ticket]))


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "ticket", ["never/1.1:0", "known/1.1:1", "known/1.2:0", "ü %41\t/1.1:0", "known/1.1:4294967295"]
)
def test_an_unknown_ticket_is_not_found_and_named(worker: InProcess, ticket: str) -> None:
    with pytest.raises(KeyError, match=re.escape(ticket)):
        get(worker, ticket)
    error = refusal(raw_call, worker.data_address, FLIGHT_SERVICE + "DoGet", ticket_message(ticket.encode()))
    assert (error.code(), ticket in error.details()) == (grpc.StatusCode.NOT_FOUND, True)


def test_a_dropped_partition_is_not_found_and_named_also_among_others_that_are_there(worker: InProcess) -> None:
    tickets = worker.publish("dropped/1.1", *[NUMBERS.slice(0, 10)] * 3)
    worker.call(pb.DropPartitionsRequest(tickets=[tickets[1]]))
    for asked in (tickets[1], "\n".join(tickets)):
        with pytest.raises(KeyError, match=re.escape(tickets[1])):
            get(worker, asked)
    assert get(worker, tickets[0]).num_rows == 10


def test_a_partition_that_is_dropped_while_it_is_read_is_read_to_its_end(worker: InProcess) -> None:
    table = pa.table({"x": pa.array(range(4_000_000), pa.int64())})
    whole = pa.Table.from_batches(table.to_batches(max_chunksize=200_000))
    (ticket,) = worker.publish("slowly/1.1", whole)
    with worker.flight() as client:
        reader = client.do_get(flight.Ticket(ticket), flight_options())
        first = reader.read_chunk().data
        worker.call(pb.DropPartitionsRequest(tickets=[ticket]))
        rest = [chunk.data for chunk in reader]
    assert pa.Table.from_batches([first, *rest]) == whole


@pytest.mark.parametrize(
    "ticket",
    [b"", b":", b"hello", b"q/1.1", b"q/1.1:", b":0", b"q/1.1:-1", b"q/1.1:01", b"q/1.1:4294967296", b"q/1.1:x",
     b"\xff\xfe:0", b"q/1.1:0\n", b"\nq/1.1:0", b"q/1.1:0\n\nq/1.1:0", b"x" * 100_000],
    ids=lambda ticket: repr(ticket[:20]),
)  # fmt: skip
def test_a_malformed_ticket_is_an_invalid_argument(worker: InProcess, ticket: bytes) -> None:
    with pytest.raises(pa.ArrowInvalid):
        get(worker, ticket)
    error = refusal(raw_call, worker.data_address, FLIGHT_SERVICE + "DoGet", ticket_message(ticket))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(error.details()) < 4096


@pytest.mark.parametrize("path", [(), ("nonsense",), ("a/1.1:0", "b/1.1:0")], ids=["none", "malformed", "two"])
def test_a_put_without_one_proper_ticket_is_an_invalid_argument(worker: InProcess, path: tuple[str, ...]) -> None:
    with pytest.raises(pa.ArrowInvalid):
        put(worker, NUMBERS, *path)


# ------------------------------------------------------------------------------------ our own client


class CountingProxy:
    """A Flight server made of grpcio that passes calls on, byte for byte, and remembers them."""

    def __init__(self, target: str) -> None:
        self.calls: list[tuple[str, list[bytes]]] = []
        self._target = target

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.stream_stream_rpc_method_handler(lambda requests, _: self._pass_on(details, requests))

    def _pass_on(self, details: grpc.HandlerCallDetails, requests: Iterator[bytes]) -> Iterator[bytes]:
        messages = list(requests)
        self.calls.append((details.method, messages))
        carried = [item for item in details.invocation_metadata if item[0] == "authorization"]
        with channel(self._target) as opened:
            yield from opened.stream_stream(details.method)(iter(messages), metadata=carried, timeout=SECONDS)


@contextlib.contextmanager
def counting_proxy(target: str) -> Iterator[tuple[str, CountingProxy]]:
    proxy = CountingProxy(target)
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((proxy,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", proxy
    finally:
        server.stop(None).wait(SECONDS)


def test_a_worker_fetches_any_number_of_partitions_from_another_in_one_request(tmp_path: Path) -> None:
    with worker_in_process(tmp_path / "a") as holder, worker_in_process(tmp_path / "b", worker_id="worker-1") as reader:
        names = [name for name in TABLES if name != "large"] * 40
        tickets = holder.publish("many/1.1", *(TABLES[name].slice(0, 50) for name in names))
        with counting_proxy(holder.data_address) as (address, proxy):
            partitions = [pb.InputPartition(ticket=ticket) for ticket in tickets]
            source = pb.TaskInput(source_id=3, partitions=partitions)
            task = pb.Task(key="read/1.1", plan_hash=b"h", inputs=[source])
            plans = [pb.Plan(hash=b"h", body=b"p")]
            reader.call(pb.SubmitTaskRequest(tasks=[task], addresses=[address], plans=plans))
            ((_, streams),) = reader.next("task").inputs
        assert len(streams) == len(names) > 1000
        for name, stream in zip(names, streams, strict=True):
            assert pa.table(stream).equals(TABLES[name].slice(0, 50), check_metadata=True)
        assert proxy.calls == [(FLIGHT_SERVICE + "DoGet", [ticket_message("\n".join(tickets).encode())])]


def test_many_tickets_in_one_request_are_answered_in_their_order_each_beginning_with_its_schema(
    worker: InProcess,
) -> None:
    """Flight knows one schema for each stream: with more than one ticket, a client has to read the messages itself."""
    tickets = worker.publish("pair/1.1", NUMBERS.slice(0, 2), NUMBERS.slice(5, 3))
    asked = "\n".join([tickets[1], tickets[0], tickets[1]])
    messages = raw_call(worker.data_address, FLIGHT_SERVICE + "DoGet", ticket_message(asked.encode()))
    schemas, batches = messages[::2], messages[1::2]
    for index, (schema, rows) in enumerate(zip(schemas, (3, 2, 3), strict=True)):
        # `app_metadata`, field 3: the ticket's index, its rows, its bytes, the seal.
        assert b"\x1a\x18" + struct.pack("<IQ", index, rows) in schema
    # But for the seals at the end, which depend on what comes before.
    assert batches[0][:-4] == batches[2][:-4] != batches[1][:-4]


def test_a_put_that_breaks_off_stores_nothing(worker: InProcess) -> None:
    ticket = "broken/1.1:0"
    with counting_proxy(worker.data_address) as (address, proxy):
        put(Peer(worker.control_address, address), NUMBERS, ticket)
    ((_, messages),) = proxy.calls
    worker.call(pb.DropPartitionsRequest(tickets=[ticket]))
    broken_off = threading.Event()

    def some_of_it() -> Iterator[bytes]:
        yield from messages
        broken_off.wait(SECONDS)  # the end of the request never comes

    with channel(worker.data_address) as opened:
        call = opened.stream_stream(FLIGHT_SERVICE + "DoPut")(some_of_it(), metadata=metadata(RIGHT), timeout=1)
        error = refusal(list, call)
        broken_off.set()
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(KeyError, match=ticket):
        get(worker, ticket)
    raw_call(worker.data_address, FLIGHT_SERVICE + "DoPut", *messages)
    assert get(worker, ticket) == NUMBERS
