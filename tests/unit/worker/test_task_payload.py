"""The form in which tasks and errors travel. Plans themselves are tested with Daft's executor."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from daft_k8s.errors import TaskError
from daft_k8s.task_payload import (
    MOST_ERROR_BYTES,
    FlightReference,
    decode_error,
    decode_needs,
    decode_payload,
    decode_plan,
    encode_error,
    encode_payload,
    encode_task,
    join_result,
    split_result,
)
from tests.local.hostile_exceptions import EXCEPTIONS


class OddError(Exception):
    """Pickles, but not back."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right}")


def make_task(context: dict[str, str]) -> Any:
    return SimpleNamespace(
        plan=lambda: {"operator": "project"},
        config=lambda: "config",
        context=lambda: context,
        inputs=lambda: {3: "scan"},
    )


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def test_a_result_survives_the_journey_with_and_without_references() -> None:
    reference = FlightReference(1, "grpc://127.0.0.1:1", 2, 3, 4)
    assert split_result(join_result(b"stats", [])) == (b"stats", [])
    assert split_result(join_result(b"stats", [reference, reference])) == (b"stats", [reference, reference])


def test_a_task_survives_the_journey() -> None:
    plan, payload = encode_task(make_task({"task_id": "1"}))
    assert decode_plan(plan) == {"operator": "project"}  # type: ignore[comparison-overlap]
    decoded = decode_payload(payload)
    assert (decoded.config, decoded.context, decoded.inputs) == ("config", {"task_id": "1"}, {3: "scan"})


def test_what_a_task_needs_is_read_before_the_rest() -> None:
    payload = encode_payload(make_task({}), extensions=["/opt/libhello.so"], search_path=("/script",))
    assert decode_needs(payload + b"not a pickle") == (None, ["/opt/libhello.so"], None, ("/script",))
    assert decode_needs(encode_payload(make_task({}))) == (None, [], None, ())
    assert decode_needs(encode_payload(make_task({}), folder="/home/ann")).folder == "/home/ann"


def test_tasks_with_equal_plans_have_equal_plan_bytes() -> None:
    first, second = encode_task(make_task({"task_id": "1"})), encode_task(make_task({"task_id": "2"}))
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_an_exception_arrives_as_itself_with_its_causes() -> None:
    arrived = decode_error(encode_error(raised(ValueError("no"), raised(KeyError("deep")))), "")
    assert isinstance(arrived, ValueError)
    assert isinstance(arrived.__cause__, KeyError)


def test_plain_unpickling_gives_the_exception_too() -> None:
    assert isinstance(pickle.loads(encode_error(ValueError("no"))), ValueError)


def test_an_exception_that_does_not_unpickle_arrives_as_its_type_and_text() -> None:
    arrived = decode_error(encode_error(raised(OddError("left", "right"))), "")
    assert isinstance(arrived, TaskError)
    assert str(arrived).endswith("OddError: left and right")


def test_an_exception_that_cannot_be_pickled_arrives_as_its_type_and_text() -> None:
    error = ValueError("no")
    error.extra = (number for number in range(3))  # type: ignore[attr-defined]
    assert str(decode_error(encode_error(error), "")) == "builtins.ValueError: no"


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_survives_the_journey_or_arrives_as_its_type_and_text(name: str) -> None:
    error = EXCEPTIONS[name]()
    encoded = encode_error(error)
    assert len(encoded) <= MOST_ERROR_BYTES
    arrived = decode_error(encoded, "the worker's words")
    assert type(arrived).__qualname__.rpartition(".")[2] == type(error).__name__ or type(arrived) is TaskError


def test_a_huge_exception_arrives_shortened_and_says_so() -> None:
    arrived = decode_error(encode_error(ValueError("the beginning" + "x" * MOST_ERROR_BYTES + "the end")), "")
    assert type(arrived) is TaskError
    for words in ("builtins.ValueError: the beginning", "characters are left out", "the end"):
        assert words in str(arrived)


def test_without_an_exception_the_message_is_the_error() -> None:
    for nothing in (b"", b"not a pickle"):
        arrived = decode_error(nothing, "worker-0 said no")
        assert isinstance(arrived, TaskError)
        assert str(arrived) == "worker-0 said no"
