"""The form in which tasks travel. Plans themselves are tested with Daft's executor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from daft_k8s.wire.task_payload import (
    FlightReference,
    TaskNeeds,
    decode_needs,
    decode_payload,
    decode_plan,
    encode_payload,
    encode_plan,
    join_result,
    split_result,
)


def encode(task: Any) -> tuple[bytes, bytes]:
    return encode_plan(task), encode_payload(task)


def make_task(context: dict[str, str]) -> Any:
    return SimpleNamespace(
        plan=lambda: {"operator": "project"},
        config=lambda: "config",
        context=lambda: context,
        inputs=lambda: {3: "scan"},
    )


def test_a_result_survives_the_journey_with_and_without_references() -> None:
    reference = FlightReference(1, "grpc://127.0.0.1:1", 2, 3, 4)
    assert split_result(join_result(b"stats", [])) == (b"stats", [])
    assert split_result(join_result(b"stats", [reference, reference])) == (b"stats", [reference, reference])


def test_a_task_survives_the_journey() -> None:
    plan, payload = encode(make_task({"task_id": "1"}))
    assert decode_plan(plan) == {"operator": "project"}  # type: ignore[comparison-overlap]
    decoded = decode_payload(payload)
    assert (decoded.config, decoded.context, decoded.inputs) == ("config", {"task_id": "1"}, {3: "scan"})


def test_what_a_task_needs_is_read_before_the_rest() -> None:
    payload = encode_payload(make_task({}), extensions=["/opt/libhello.so"], search_path=("/script",))
    assert decode_needs(payload + b"not a pickle") == TaskNeeds(None, ("/opt/libhello.so",), None, ("/script",))
    assert decode_needs(encode_payload(make_task({}))) == TaskNeeds(None, ())
    assert decode_needs(encode_payload(make_task({}), folder="/home/ann")).folder == "/home/ann"


def test_tasks_with_equal_plans_have_equal_plan_bytes() -> None:
    first, second = encode(make_task({"task_id": "1"})), encode(make_task({"task_id": "2"}))
    assert first[0] == second[0]
    assert first[1] != second[1]
