"""The configuration for people. Covered: rows, table, hidden secrets, the warning, the committed page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daft_k8s.config import FIELDS, Configuration
from daft_k8s.config.describe import as_dict, difference, ignored_message, oversized_message, rows
from daft_k8s.config.markdown import page
from tests.unit.config.conftest import Load


def test_every_option_is_listed_with_value_and_source(read: Load) -> None:
    configuration = read(
        {"DAFT_K8S_QUEUE_AHEAD": "5"}, preset="production", worker_memory="1536Mi", node_selector={"a": "b"}
    )
    found = {row.name: (row.value, row.origin) for row in rows(configuration)}
    assert list(found) == list(FIELDS)
    assert found["worker_memory"] == ("1536Mi", "argument worker_memory")
    assert found["queue_ahead"] == (5, "environment variable DAFT_K8S_QUEUE_AHEAD")
    assert found["log_format"] == ("json", "preset production")
    assert found["worker_cpu"] == ("1", "chosen")
    assert found["namespace"] == (None, "default")
    assert found["node_selector"] == ({"a": "b"}, "argument node_selector")


def test_a_configuration_made_by_hand_can_be_listed() -> None:
    found = {row.name: row.origin for row in rows(Configuration(num_workers=3))}
    assert found["num_workers"] == "argument num_workers"
    assert found["queue_ahead"] == "default"


def test_secrets_are_hidden_but_their_names_are_shown(read: Load) -> None:
    configuration = read(env={"PASSWORD": "12345678"}, pod_template={"spec": {"password": "12345678"}})
    text = json.dumps(as_dict(configuration)) + "".join(row.text for row in rows(configuration))
    assert "12345678" not in text
    assert as_dict(configuration)["env"] == {"PASSWORD": "(hidden)"}
    assert as_dict(configuration)["pod_template"] == "(hidden)"
    assert as_dict(read())["pod_template"] is None


def test_what_is_shown_can_be_given_again(read: Load) -> None:
    first = read(worker_cpu=2, worker_memory="1.5Gi", tolerations=[{"key": "a"}], labels={"a": "b"})
    shown = {name: value for name, value in as_dict(first).items() if value is not None}
    assert read(**shown) == first


def test_each_option_has_a_row_whose_value_is_text_for_people(read: Load) -> None:
    found = {row.name: (row.text, row.origin) for row in rows(read(store_memory_share=0.25))}
    assert list(found) == list(FIELDS)
    assert found["store_memory_share"] == ("0.25", "argument store_memory_share")


def test_a_warning_names_the_ignored_options_and_the_remedy(read: Load) -> None:
    warning = ignored_message(read(namespace="x", image="y"))
    assert warning is not None
    assert "namespace, image" in warning
    assert 'allocation="pod"' in warning
    assert ignored_message(read()) is None


def test_the_committed_page_is_the_generated_one() -> None:
    committed = Path(__file__).parents[3] / "docs/configuration.md"
    assert committed.read_text(encoding="utf-8") == page(), (
        "run: python -m daft_k8s.config.markdown > docs/configuration.md"
    )


@pytest.mark.parametrize("name", list(FIELDS))
def test_the_page_describes_the_option(name: str) -> None:
    section = page().split(f"### `{name}`\n", 1)[1].split("\n### ", 1)[0]
    assert FIELDS[name].description in section
    assert FIELDS[name].accepts in section
    assert f"`{FIELDS[name].variable}`" in section


def test_a_difference_names_options_and_values_as_they_are_written_and_hides_secrets(read: Load) -> None:
    first = read(worker_memory="1Gi", worker_cpu=1, env={"PASSWORD": "12345678"})
    second = read(worker_memory="1536Mi", worker_cpu=2, env={"PASSWORD": "87654321"}, queue_ahead=5)
    found = difference(first, second).split("; ")
    assert "worker_memory was 1Gi, now 1536Mi" in found
    assert "worker_cpu was 1, now 2" in found
    assert "env" in found
    assert difference(first, first) == ""


def test_local_workers_far_wider_than_the_machine_are_warned_of(read: Load) -> None:
    warning = oversized_message(read(worker_cpu=17))  # of 8
    assert warning is not None
    assert "worker_cpu is 17" in warning and "8 CPUs" in warning
    assert oversized_message(read(worker_cpu=16)) is None
    assert oversized_message(read(worker_cpu=17, allocation="pod", image="x")) is None
