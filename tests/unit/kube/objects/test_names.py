"""Names and labels that Kubernetes accepts, whatever the ids look like."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.kube.objects import names

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
IDS = st.text(max_size=90) | st.from_regex(r"[a-z0-9-]{1,70}", fullmatch=True)
LAUNCH = st.integers(1, 10**6)


@given(IDS, IDS, LAUNCH)
def test_a_pods_name_is_a_dns_label(session: str, worker: str, launch: int) -> None:
    name = names.pod_name(session, worker, launch)
    assert DNS_LABEL.fullmatch(name)
    assert len(name) <= 63


@given(st.lists(st.tuples(IDS, IDS, LAUNCH), min_size=2, max_size=2, unique=True))
def test_two_launches_never_share_a_name(launches: list[tuple[str, str, int]]) -> None:
    assert len({names.pod_name(*launch) for launch in launches}) == 2


def test_a_name_tells_session_worker_and_launch() -> None:
    assert names.pod_name("0a1b2c3d4e5f", "worker-12", 3) == "daft-0a1b2c3d4e5f-worker-12-3"


def test_ids_whose_joints_differ_have_different_names() -> None:
    assert names.pod_name("a", "b-c", 1) != names.pod_name("a-b", "c", 1)


@given(IDS)
def test_a_labels_value_is_accepted(text: str) -> None:
    value = names.label_value(text)
    assert LABEL_VALUE.fullmatch(value)
    assert len(value) <= 63


@given(IDS)
def test_the_secrets_name_is_a_dns_label(session: str) -> None:
    assert DNS_LABEL.fullmatch(names.new_secret_name(session))
    assert len(names.new_secret_name(session)) <= 63


def test_what_a_session_has_one_of_is_named_after_it() -> None:
    assert names.lease_name("abc123") == names.service_name("abc123") == "daft-abc123"
    assert names.object_name("abc123", "worker") == "daft-abc123-worker"


def test_a_name_leaves_room_for_the_number_that_a_controller_adds() -> None:
    longest = "a" * 48
    assert names.object_name(longest) == f"daft-{longest}"
    for session in (longest + "a", "A" * 90):
        assert len(names.object_name(session)) == 53
        assert names.object_name(session) != names.object_name(session + "a")


def test_a_secrets_name_ends_with_eight_random_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "token_hex", lambda count: f"<{count}>")
    assert names.new_secret_name("abc123") == "daft-abc123-<8>"


def test_a_name_that_has_no_plain_letter_is_a_hash() -> None:
    assert re.fullmatch(r"x[0-9a-f]{10}", names.label_value("***"))


def test_a_label_is_the_text_itself_where_kubernetes_accepts_it() -> None:
    assert names.label_value("Ada.Laptop_1") == "Ada.Laptop_1"
    assert names.label_value("a" * 63) == "a" * 63
    assert re.fullmatch(r"ada-laptop-[0-9a-f]{10}", names.label_value("Ada @ Laptop!"))


def test_a_pods_worker_is_told_by_its_label_and_else_by_its_number() -> None:
    assert names.worker_of({"name": "daft-s1-worker-3", "labels": {"daft.io/worker": "worker-7"}}) == "worker-7"
    assert names.worker_of({"name": "daft-s1-worker-3", "labels": {}}) == "worker-3"
    assert names.worker_of({"name": "daft-s1-worker-3", "labels": None}) == "worker-3"


def test_a_sessions_selector_names_the_session_and_the_role() -> None:
    assert names.session_selector("abc123") == "daft.io/session=abc123,daft.io/role=worker"
