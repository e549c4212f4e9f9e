"""The form of calls and answers. Daft's own partitions travel in them, so some of these tests make a few."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from daft_k8s.errors import TaskError
from daft_k8s.wire.actor_messages import (
    ALIGNMENT_BYTES,
    ActorSpec,
    Answer,
    decode_message,
    encode_call,
    encode_message,
    join_message,
    result_of,
)
from daft_k8s.wire.pickled_errors import encode_error


def there_and_back(value: Any) -> Any:
    return decode_message(bytearray(join_message(encode_message(value))))


@pytest.mark.parametrize("value", [None, ("method", (1, "two")), [b"x" * 1000]])
def test_a_message_is_read_as_it_was_written(value: Any) -> None:
    assert there_and_back(value) == value


def test_buffers_of_any_size_are_read_as_they_were_written() -> None:
    written = [b"x" * size for size in (0, 1, 63, 64, 65)]
    assert [bytes(buffer) for buffer in there_and_back([pickle.PickleBuffer(data) for data in written])] == written


def test_large_buffers_lie_aligned_in_the_message() -> None:
    message = join_message(encode_message([pickle.PickleBuffer(b"first"), pickle.PickleBuffer(b"second")]))
    assert message.index(b"first") % ALIGNMENT_BYTES == message.index(b"second") % ALIGNMENT_BYTES == 0


def test_the_batches_of_a_partition_stay_as_they_are() -> None:
    from daft.daft import PyMicroPartition, PyRecordBatch
    from daft.recordbatch import MicroPartition

    whole = MicroPartition.from_pydict({"a": [1, None, 3], "text": ["x", "", None], "object": [{"k": 1}, (), object]})
    (batch,) = whole._micropartition.get_record_batches()
    empty = PyRecordBatch.empty(whole._micropartition.schema())
    partition = PyMicroPartition.from_record_batches([batch.slice(1, 3), empty, batch])
    call = decode_message(bytearray(join_message(encode_call("eval_input", (partition,)))))
    assert call.method == "eval_input"
    (arrived,) = call.arguments
    assert [len(batch) for batch in arrived.get_record_batches()] == [2, 0, 3]
    there = MicroPartition._from_pymicropartition(arrived).to_pydict()
    assert there == MicroPartition._from_pymicropartition(partition).to_pydict()


def test_a_spec_survives_its_journey() -> None:
    spec = ActorSpec("UDF f", "module:Class", b"arguments", 0.5, 60.0, 4)
    assert ActorSpec.decode(spec.encode()) == spec
    there = spec.at("pool-7/3", 2, [1])
    assert (there.label, there.generation, there.gpu_devices) == ("actor 3 of UDF f", 2, (1,))
    assert there.arguments == b"arguments"


def test_an_answer_is_a_value_or_raises_what_was_raised() -> None:
    assert result_of(Answer("value", 7), "actor 0") == 7
    with pytest.raises(LookupError, match="no such row"):
        result_of(Answer("error", error=encode_error(LookupError("no such row")), message="traceback"), "actor 0")
    with pytest.raises(TaskError, match="actor 0: it was killed"):
        result_of(Answer("error", message="it was killed"), "actor 0")
