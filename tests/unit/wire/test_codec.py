"""The codec of messages between driver and worker: every message arrives as it was sent, and nothing else arrives."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.errors import TaskError
from daft_k8s.wire import calls
from daft_k8s.wire.actor_messages import ActorSpec
from daft_k8s.wire.code_reference import CodeReference
from daft_k8s.wire.codec import MessageError, decode, decode_first, encode
from daft_k8s.wire.task_payload import FlightReference, TaskNeeds

CODE = CodeReference("0" * 64, "/code", 3, is_working_dir=True)
OF_TYPE: dict[str, Any] = {
    "str": "text",
    "str | None": None,
    "int": 7,
    "bool": True,
    "bytes": b"bytes",
    "ActorEvent": calls.ActorEvent.KILLED,
    "tuple[tuple[str, int], ...]": (("actor", 1),),
    "tuple[str, ...]": ("a line", "\N{SNOWMAN}"),
}
MESSAGES = [found for found in vars(calls).values() if dataclasses.is_dataclass(found) and isinstance(found, type)]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_call_and_reply_arrives_as_it_was_sent(message: Any) -> None:
    sent = message(**{item.name: OF_TYPE[str(item.type)] for item in dataclasses.fields(message)})
    arrived = decode(encode(sent))
    assert (type(arrived), arrived) == (message, sent)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(arrived, dataclasses.fields(message)[0].name if dataclasses.fields(message) else "new", 1)


@pytest.mark.parametrize(
    "message",
    [
        ActorSpec("UDF f", "module:Class", b"arguments", 0.5, 60.0, 4, CODE, gpu_devices=(1,)),
        TaskNeeds(CODE, ("/lib.so",), "/home", ("/script",)),
        (b"stats", [FlightReference(1, "grpc://127.0.0.1:1", 2, 3, 4)]),
    ],
)
def test_messages_hold_others_and_plain_values(message: Any) -> None:
    assert decode(encode(message)) == message


def test_what_follows_a_message_is_not_read() -> None:
    assert decode(encode(calls.Done()) + b"something else") == calls.Done()


class Trap:
    def __reduce__(self) -> Any:
        return os.putenv, ("SPRUNG", "1")


@pytest.mark.parametrize("foreign", [Trap(), TaskError("no message"), calls.Done(), {"x": 1}, b"bytes", None])
def test_a_pickle_is_no_message(foreign: object) -> None:
    with pytest.raises(MessageError):
        decode(pickle.dumps(foreign))


@pytest.mark.parametrize("foreign", [Trap(), TaskError("no message"), os.putenv, decode, calls.DriverCall, {1, 2}])
def test_what_is_no_plain_value_cannot_be_sent(foreign: object) -> None:
    with pytest.raises(MessageError, match="is no message between driver and worker"):
        encode(foreign)


NAMES = [
    "codec.MessageError",
    "codec.json",
    "codec.json.JSONDecoder",
    "calls.DriverCall",
    "calls.dataclass",
    "actor_messages.CodeReference",
    "..errors.TaskError",
    ".calls.Done",
    "nothing.Done",
    "calls.Nothing",
    "calls.ActorEvent",
    "Done",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_message_is_found_under_its_own_name_alone(name: str) -> None:
    with pytest.raises(MessageError):
        decode(crafted({"m": [name]}))
    with pytest.raises(MessageError):
        decode(crafted({"e": [name if name != "calls.ActorEvent" else "calls.Done", "KILLED"]}))


def crafted(value: Any, lengths: Any = ()) -> bytes:
    text = json.dumps([value, list(lengths)]).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        b"\xff" * 100,
        crafted({"b": 0}),
        crafted({"b": 0}, [1]),
        crafted({"b": 0}, [-1]),
        crafted({"b": 0}, [1 << 70]),
        crafted({"b": "x"}, [0]),
        crafted({"m": ["calls.ClaimRows"]}),
        crafted({"m": 3}),
        crafted({"d": [[{"d": []}, 1]]}),
        crafted({"unknown": 1}),
        crafted({"t": 1, "b": 2}),
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 1 << 63),
    ],
)
def test_whatever_the_bytes_are_the_one_error_is_that_they_are_no_message(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)


PLAIN: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda values: (
        st.lists(values)
        | st.lists(values).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.binary() | st.tuples(st.integers()), values)
    ),
)


@given(PLAIN)
def test_plain_values_arrive_as_they_are(value: Any) -> None:
    data = encode(value)
    arrived = decode(data)
    assert (type(arrived), arrived) == (type(value), value)
    assert decode_first(data + b"more") == (value, len(data))


@given(st.binary())
def test_noise_is_no_message(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)


@pytest.mark.parametrize(
    "message",
    [
        {"m": ["calls.ReportMemory", "many", 0, 0]},
        {"m": ["calls.ReportMemory", True, 0, 0]},
        {"m": ["calls.FindActor", "pool", "actor", {"t": [["actor", 1]]}]},
        {"m": ["calls.FindActor", "pool", "actor", {"t": [{"t": ["actor"]}]}]},
        {"m": ["calls.ActorNews", "a", "READY", 1, "address", "", {"b": 0}]},
        {"m": ["calls.PrintLines", 0, "lines"]},
        {"m": ["task_payload.TaskNeeds", {"m": ["calls.Done"]}, {"t": []}, None, {"t": []}]},
        {"m": ["error_parts.ErrorParts", "m", "n", "", {"t": []}, {"d": [[1, 2]]}, "text", {"t": []}]},
    ],
    ids=lambda message: str(message["m"][0]),
)
def test_a_message_whose_fields_have_other_types_is_refused(message: Any) -> None:
    with pytest.raises(MessageError, match=r"of .* is a \w+, and must be"):
        decode(crafted(message, [0]))
