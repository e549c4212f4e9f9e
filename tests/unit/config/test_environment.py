"""Variables that are passed on to workers. The way of a configuration through variables: tests/unit/cli."""

from __future__ import annotations

import pytest

from daft_k8s.config import load
from daft_k8s.config.environment import passed_on
from daft_k8s.errors import ConfigurationError

ENVIRON = {"AWS_REGION": "eu", "AWS_KEY": "k", "TOKEN": "t", "TOKEN_2": "u", "DAFT_K8S_IMAGE": "x", "HOME": "/"}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], set()),
        (["AWS_*"], {"AWS_REGION", "AWS_KEY"}),
        (["TOKEN"], {"TOKEN"}),
        (["TOKEN*", "NONE"], {"TOKEN", "TOKEN_2"}),
        (["DAFT_*", "HOME"], {"HOME"}),
    ],
)
def test_names_and_beginnings_choose_variables_and_never_the_runners_own(names: list[str], found: set[str]) -> None:
    assert passed_on(load({"pass_env": names}, {}), ENVIRON) == {name: ENVIRON[name] for name in found}


@pytest.mark.parametrize("name", ["*", "A*B", "A-B", ""])
def test_a_pattern_is_a_name_or_the_beginning_of_one(name: str) -> None:
    with pytest.raises(ConfigurationError, match="pass_env"):
        load({"pass_env": [name]}, {})
