"""The codec of messages between driver and worker: every message arrives as it was sent, and nothing else arrives."""

from __future__ import annotations

import dataclasses
import os
import pickle
from typing import Any

import pytest

from daft_k8s.errors import TaskError
from daft_k8s.wire import calls
from daft_k8s.wire.actor_messages import ActorSpec
from daft_k8s.wire.code_reference import CodeReference
from daft_k8s.wire.codec import decode, encode
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
        ActorSpec("actor 0", "module:Class", b"arguments", 1, 0.5, (1,), 60.0, 4, CODE),
        TaskNeeds(CODE, ("/lib.so",), "/home", ("/script",)),
        (b"stats", [FlightReference(1, "grpc://127.0.0.1:1", 2, 3, 4)]),
    ],
)
def test_messages_hold_others_and_plain_values(message: Any) -> None:
    assert decode(encode(message)) == message


def test_members_of_enumerations_arrive_from_each_version_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_python_3_12(self: calls.ActorEvent, _protocol: int) -> Any:
        return getattr, (type(self), self.name)

    monkeypatch.setattr(calls.ActorEvent, "__reduce_ex__", as_python_3_12)
    with pytest.raises(pickle.UnpicklingError):
        decode(pickle.dumps(calls.ActorEvent.KILLED))
    assert decode(encode(calls.ActorEvent.KILLED)) is calls.ActorEvent.KILLED


def test_what_follows_a_message_is_not_read() -> None:
    assert decode(encode(calls.Done()) + b"something else") == calls.Done()


class Trap:
    def __reduce__(self) -> Any:
        return os.putenv, ("SPRUNG", "1")


@pytest.mark.parametrize("foreign", [Trap(), TaskError("no message"), os.putenv, decode, calls.DriverCall])
def test_bytes_that_name_anything_but_a_message_are_refused_before_it_is_used(foreign: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="is no message between driver and worker"):
        decode(pickle.dumps(foreign))


def test_a_message_cannot_lead_to_what_its_module_imports() -> None:
    crafted = b"cdaft_k8s.wire.codec\npickle.loads\n."
    with pytest.raises((pickle.UnpicklingError, AttributeError)):
        decode(b"\x80\x04" + crafted)
