"""Names and labels that Kubernetes accepts, whatever the ids look like."""

from __future__ import annotations

import re

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
