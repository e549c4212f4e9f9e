"""A template merged over the runner's Pod: the result, and the whole message about what it may not set."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.objects.template import merge, merge_template

POD: dict[str, Any] = {"metadata": {"name": "p", "labels": {"a": "1"}}, "spec": {"containers": [{"name": "worker"}]}}


def test_the_message_lists_every_mistake_of_a_template() -> None:
    template = {
        "metadata": {"labels": {"daft.io/x": "y"}, "annotations": {"daft.io/z": "y"}},
        "spec": {
            "hostNetwork": True,
            "tolerations": [],
            "volumes": {},
            "containers": [
                "text",
                {"name": "worker", "ports": [{}], "env": [{"name": "DAFT_K8S_A", "value": "1"}, "text", {}]},
                {"name": "sidecar"},
            ],
        },
    }
    with pytest.raises(ConfigurationError) as caught:
        merge_template(POD, template)
    assert str(caught.value).split("\n  - ") == [
        "pod_template sets what the runner must set itself:",
        "metadata.labels 'daft.io/x': the runner finds its Pods by it",
        "metadata.annotations 'daft.io/z': the runner finds its Pods by it",
        "spec.hostNetwork: two workers on one node would want the same ports",
        "spec.containers: an item without name, so it is not known which one is meant",
        "spec.volumes: not a list",
        "the container 'worker', env: an item without name, so it is not known which one is meant",
        "the container 'worker', ports: an item without containerPort, so it is not known which one is meant",
        "the container 'worker', env 'DAFT_K8S_A': names that start with DAFT_K8S_ belong to the runner",
        "the container 'sidecar': the worker's own is called 'worker'; a further one needs an image",
    ]


def test_neither_the_pod_nor_the_template_is_part_of_the_result() -> None:
    template: dict[str, Any] = {
        "metadata": {"annotations": {"b": "2"}},
        "spec": {
            "nodeSelector": {"pool": "x"},
            "tolerations": [{"key": "spot", "values": ["a"]}],
            "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
            "containers": [{"name": "worker", "env": [{"name": "A", "valueFrom": {"x": {}}}]}],
        },
    }
    pod = copy.deepcopy(POD)
    pod["spec"] |= {"tolerations": [{"key": "own"}], "volumes": [{"name": "v", "emptyDir": {}}]}
    pod["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    before = copy.deepcopy((pod, template))
    spoil(merge_template(pod, template))
    assert (pod, template) == before


def spoil(value: Any) -> None:
    for item in list(value.values()) if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            spoil(item)
    if isinstance(value, dict):
        value["spoiled"] = True
    else:
        value.append("spoiled")


@pytest.mark.parametrize(
    ("base", "over", "key", "merged"),
    [
        ({"a": 1, "b": {"c": 1}}, {"b": {"d": 2}}, "", {"a": 1, "b": {"c": 1, "d": 2}}),
        ({"a": 1}, 5, "", 5),
        (5, {"a": 1}, "", {"a": 1}),
        ([1], {"a": 1}, "env", {"a": 1}),
        ([1], [2], "args", [2]),
        ([{"key": "a"}], [{"key": "a"}, {"key": "b"}], "tolerations", [{"key": "a"}, {"key": "b"}]),
        ([{"name": "a", "x": 1}], [{"name": "a", "y": 2}, {"name": "b"}], "containers",
         [{"name": "a", "x": 1, "y": 2}, {"name": "b"}]),
        ([], [{"name": "b", "x": 1}, {"name": "b", "y": 2}], "containers", [{"name": "b", "x": 1, "y": 2}]),
        ([{"name": "a", "value": 1}], [{"name": "a", "valueFrom": 2}], "env", [{"name": "a", "valueFrom": 2}]),
    ],
)  # fmt: skip
def test_parts_are_merged_by_what_identifies_them(base: Any, over: Any, key: str, merged: Any) -> None:
    assert merge(base, over, key) == merged


def test_a_template_of_the_metadata_alone_leaves_the_spec() -> None:
    assert merge_template(POD, {"metadata": {"labels": {"b": "2"}}}) == {
        "metadata": {"name": "p", "labels": {"a": "1", "b": "2"}},
        "spec": POD["spec"],
    }
