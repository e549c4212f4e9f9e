"""A configuration in the environment variables of another process, and variables that are passed on to workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from daft_k8s.config import Configuration, load
from daft_k8s.config.environment import as_environment, passed_on
from daft_k8s.config.frozen import FrozenMap
from daft_k8s.errors import ConfigurationError
from tests.unit.config.conftest import Load

OPTIONS: dict[str, object] = {
    "allocation": "pod",
    "preset": "production",
    "num_workers": 3,
    "worker_memory": "4Gi",
    "worker_cpu": 1.5,
    "tls": False,
    "namespace": "jobs",
    "image_pull_secrets": ["a", "b"],
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "env": {"A": "1,2", "B": "x"},
    "pod_template": {"spec": {"hostNetwork": False}},
}
ENVIRON = {"AWS_REGION": "eu", "AWS_KEY": "k", "TOKEN": "t", "TOKEN_2": "u", "DAFT_K8S_IMAGE": "x", "HOME": "/"}
ENVIRON |= {"BASH_ENV": "e", "BASH_FUNC_f%%": "() { :; }", "B.c": "d", "BÄ": "u", "B\n": "n"}


def test_another_process_loads_the_same_configuration(read: Load, here: Path) -> None:
    configuration = read(**OPTIONS)
    assert load({}, as_environment(configuration), here) == configuration


def test_only_what_somebody_chose_is_handed_over(read: Load) -> None:
    assert as_environment(read(num_workers=3)) == {
        "DAFT_K8S_PRESET": "development",
        "DAFT_K8S_ALLOCATION": "local",
        "DAFT_K8S_NUM_WORKERS": "3",
    }


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("worker_memory", "1Gi", str(2**30)),
        ("tls", True, "true"),
        ("image_pull_secrets", ["a", "b"], '["a", "b"]'),
        ("env", {"A": "x"}, '{"A": "x"}'),
    ],
)
def test_a_value_is_written_as_it_can_be_read(read: Load, option: str, value: object, text: str) -> None:
    assert as_environment(read(**{option: value}))[f"DAFT_K8S_{option.upper()}"] == text


def test_a_value_of_a_configuration_made_by_hand_is_not_handed_over() -> None:
    assert as_environment(Configuration(env=FrozenMap({"A": "x"}))) == {}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], set()),
        (["AWS_*"], {"AWS_REGION", "AWS_KEY"}),
        (["TOKEN"], {"TOKEN"}),
        (["TOKEN*", "NONE"], {"TOKEN", "TOKEN_2"}),
        (["DAFT_*", "HOME"], {"HOME"}),
        (["BASH_*", "B*"], {"BASH_ENV"}),
    ],
)
def test_names_and_beginnings_choose_variables_and_never_the_runners_own(names: list[str], found: set[str]) -> None:
    assert passed_on(load({"pass_env": names}, {}), ENVIRON) == {name: ENVIRON[name] for name in found}


@pytest.mark.parametrize("name", ["*", "A*B", "A-B", ""])
def test_a_pattern_is_a_name_or_the_beginning_of_one(name: str) -> None:
    with pytest.raises(ConfigurationError, match="pass_env"):
        load({"pass_env": [name]}, {})
