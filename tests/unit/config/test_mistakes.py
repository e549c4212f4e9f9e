"""What is refused.

Covered: every class of mistake, all at once, with accepted values, source and hints, no
secret shown. Not covered: what only a running process can tell (another runner, the version of Daft).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from daft_k8s.config import FIELDS, Configuration, load
from daft_k8s.config.frozen import FrozenMap
from daft_k8s.errors import ConfigurationError
from tests.unit.config.conftest import Load

WRONG: list[tuple[str, object, list[str]]] = [
    (
        "worker_memory",
        "8 apples",
        ["worker_memory='8 apples' (argument", "not a Kubernetes quantity", '"4Gi"', "128Mi"],
    ),
    ("worker_memory", "4GB", ["perhaps 4G was meant"]),
    ("worker_memory", 4, ["too small", 'perhaps "4Gi" was meant']),
    ("worker_memory", "-1Gi", ["not negative"]),
    ("worker_memory", True, ["not bool"]),
    ("num_workers", 0, ["num_workers=0", "too small", "a whole number from 1 to 10000"]),
    ("num_workers", -1, ["num_workers=-1", "too small", "from 1"]),
    ("num_workers", 2.5, ["not a whole number"]),
    ("num_workers", "two", ["'two'", "not a whole number"]),
    ("num_workers", True, ["not a number but true or false"]),
    ("num_workers", 10**400, ["too large"]),
    ("num_workers", [1], ["not a number but a list"]),
    ("allocation", "pods", ["allocation='pods'", "local, pod, statefulset"]),
    ("allocation", 1, ["local, pod, statefulset"]),
    ("preset", "fast", ["preset='fast'", "development, production, high-performance"]),
    ("worker_cpu", "many", ["not a Kubernetes quantity", "500m"]),
    ("worker_cpu", 0, ["too small", "at least 100m"]),
    ("worker_cpu", "50m", ["too small"]),
    ("worker_gpu", -1, ["too small"]),
    ("worker_gpu", float("nan"), ["not a finite number"]),
    ("start_timeout_seconds", float("inf"), ["not a finite number"]),
    ("start_timeout_seconds", "2m", ["not a number", "a number of seconds from 1 to 604800"]),
    ("orphan_timeout_seconds", 0, ["too small"]),
    ("max_task_attempts", 0, ["too small"]),
    ("max_worker_restarts", -1, ["too small"]),
    ("store_memory_share", 95, ["too large", "from 0.05 to 0.9"]),
    ("max_message_bytes", "4Gi", ["too large", "from 1Mi to 1Gi"]),
    ("spill_dir", "here/spill", ["not absolute", "an absolute path"]),
    ("spill_dir", 5, ["not a path but a whole number"]),
    ("log_level", "LOUD", ["DEBUG, INFO, WARNING, ERROR"]),
    ("log_format", "xml", ["text, json"]),
    ("namespace", "My_Space", ["not of the accepted form"]),
    ("namespace", "a" * 64, ["longer than 63 characters"]),
    ("namespace", "", ["empty"]),
    ("image", "a b", ["without spaces"]),
    ("image_pull_policy", "Sometimes", ["IfNotPresent, Always, Never"]),
    ("image_pull_secrets", ["a", "B"], ["item 'B'"]),
    ("image_pull_secrets", {"a": 1}, ["not a list but a map"]),
    ("service_account", "_", ["name of a Kubernetes object"]),
    ("gpu_resource_name", "gpu", ["nvidia.com/gpu"]),
    ("node_selector", "disk", ['pair 1 has no "="']),
    ("node_selector", "a=1,a=2", ["'a' is given twice"]),
    ("node_selector", {"disk": True}, ["the value of 'disk' is not text but true or false", "quotes"]),
    ("node_selector", {"a/b/c": "x"}, ["key 'a/b/c'"]),
    ("node_selector", {"a": "b c"}, ["the value of 'a'"]),
    ("node_selector", ["a"], ["not a map but a list"]),
    ("node_selector", {1: "a"}, ["key 1", "not text but a whole number"]),
    ("node_selector", {"a" * 64: "x"}, ["not of the accepted form"]),
    ("labels", '{"a": ', ["malformed JSON (line 1"]),
    ("labels", {"daft.io/session": "x"}, ["daft.io/ belong to the runner"]),
    ("env", {"A-B": "x"}, ["key 'A-B'"]),
    ("env", {"DAFT_K8S_TOKEN": "x"}, ["belong to the runner"]),
    ("tolerations", {"key": "a"}, ["not a list but a map"]),
    ("tolerations", "a=b", ["malformed JSON"]),
    ("tolerations", ["a"], ["item 1 is not a map but text"]),
    ("tolerations", [{"keys": "a"}], ["unknown key 'keys'", "tolerationSeconds"]),
    ("tolerations", [{"key": "a"}, {"effect": "Never"}], ["item 2", "effect is 'Never'", "NoExecute"]),
    ("tolerations", [{"tolerationSeconds": "5"}], ["tolerationSeconds is not a whole number but text"]),
    ("pod_template", {"kind": "Deployment"}, ["its kind is 'Deployment', not Pod"]),
    ("pod_template", {"containers": []}, ["unknown keys containers"]),
    ("pod_template", {"spec": []}, ["spec is not a map but a list"]),
    ("pod_template", {"spec": {"a": object()}}, ["cannot stand in a Pod's manifest"]),
    ("pod_template", {"spec": {"a": float("nan")}}, ["nan cannot stand"]),
    ("pod_template", {"spec": {1: "a"}}, ["the key 1 is not text"]),
    ("pod_template", "pod.json", ["cannot be read: No such file"]),
    ("pod_template", "pod.txt", [".json, .yaml or .yml"]),
    ("pod_template", "[1]", [".json, .yaml or .yml"]),
    ("pod_template", "{", ["malformed JSON"]),
    ("worker_cpu", "-1", ["not negative"]),
    ("worker_cpu", 10**6 + 1, ["more than a million cores"]),
    ("worker_memory", 2**63, ["larger than Kubernetes can hold"]),
    ("worker_memory", "1" * 65, ["at most 64 characters"]),
    ("worker_memory", float("inf"), ["finite"]),
    ("worker_memory", 2**16, ["too small"]),
    ("spill_dir", "/a\0b", ["holds a null byte"]),
    ("working_dir", "a\0b", ["holds a null byte"]),
    ("working_dir", " ", ["empty"]),
    ("working_dir", 5, ["not text but a whole number"]),
    ("working_dir", "ftp://a/b", ["scheme"]),
    ("event_log", "a\0b", ["holds a null byte"]),
    ("event_log", " ", ["empty"]),
    ("event_log", 5, ["not text but a whole number"]),
    ("event_log", "ftp://a/b", ["scheme that can be written", "s3://"]),
    ("event_log", "s3://key:word@bucket/a", ["event_log='s3://***@bucket/a'", "holds credentials", "environment"]),
    ("event_log", "s3://bucket/a?client_secret=b", ["client_secret=***", "holds credentials"]),
    ("event_log", "abfss://a@b.dfs.core.windows.net/?SIG=b", ["holds credentials"]),
    ("working_dir", "local://a", ["absolute path of a folder in the image"]),
    ("tls", "perhaps", ["true, false"]),
    ("pod_template", 5, ["not a map but a whole number"]),
    ("pod_template", "[", [".json, .yaml or .yml"]),
    ("pod_template", {"a": 1, "b": 2}, ["unknown keys a, b; a Pod has apiVersion, kind, metadata and spec"]),
    ("pod_template", {"metadata": 1}, ["metadata is not a map but a whole number"]),
]
"""An option, a value that it does not accept, and parts of the message."""


CONTRADICTIONS: list[tuple[dict[str, object], str]] = [
    ({"min_workers": 5, "max_workers": 2}, "min_workers=5 (argument min_workers) is more than max_workers=2"),
    ({"min_workers": 5}, "min_workers=5 (argument min_workers) without max_workers"),
    ({"num_workers": 9, "max_workers": 2}, "num_workers=9 (argument num_workers) is not between"),
    ({"num_workers": 1, "min_workers": 2, "max_workers": 3}, "is not between min_workers=2 and max_workers=3"),
    ({"worker_gpu": 0.5}, "worker_gpu=0.5 (argument worker_gpu) with allocation='pod'"),
    ({"max_message_bytes": "512Mi", "worker_memory": "256Mi"}, "more than the memory of a worker"),
]
"""Options that contradict each other, and a part of the message."""


def message(read: Load, environ: dict[str, str] | None = None, **arguments: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(environ, **arguments)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(("option", "value", "parts"), WRONG)
def test_a_wrong_value_is_refused_with_what_is_accepted(
    read: Load, option: str, value: object, parts: list[str]
) -> None:
    text = message(read, **{option: value})
    assert text.startswith("The configuration has a mistake; nothing was started:\n")
    for part in [*parts, f"(argument {option})", "Accepted: "]:
        assert part in text


def test_a_pod_template_that_contains_itself_is_refused(read: Load) -> None:
    template: dict[str, object] = {}
    template["spec"] = template
    assert "nested too deeply" in message(read, pod_template=template)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("num_worker", "did you mean num_workers?"),
        ("workers", "did you mean num_workers?"),
        ("memory", "did you mean worker_memory?"),
        ("worker_memory_bytes", "did you mean worker_memory?"),
        ("worker-memory", "did you mean worker_memory?"),
        ("configfile", "did you mean config_file?"),
        ("node_selectors", "did you mean node_selector?"),
        ("xyzzy", "known options are preset, allocation, num_workers"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest_name(read: Load, name: str, hint: str) -> None:
    text = message(read, **{name: 1})
    assert f"{name} (argument): unknown option; {hint}" in text


def test_an_unknown_argument_is_refused_even_if_it_is_none(read: Load) -> None:
    assert "num_worker (argument): unknown option" in message(read, num_worker=None)


def test_an_unknown_variable_is_refused_with_the_nearest_name(read: Load) -> None:
    text = message(read, {"DAFT_K8S_NUM_WORKER": "3"})
    assert "DAFT_K8S_NUM_WORKER (environment variable): unknown option; did you mean DAFT_K8S_NUM_WORKERS?" in text


def test_an_unknown_key_of_the_file_is_refused_naming_the_file(read: Load, here: Path) -> None:
    text = message(read, toml="nun_workers = 3")
    assert f"nun_workers (file {here / 'daft-k8s.toml'}): unknown option; did you mean num_workers?" in text


def test_a_wrong_value_names_the_variable_or_the_file_it_came_from(read: Load, here: Path) -> None:
    text = message(read, {"DAFT_K8S_WORKER_CPU": "x"}, toml='worker_memory = "x"')
    assert "worker_cpu='x' (environment variable DAFT_K8S_WORKER_CPU)" in text
    assert f"worker_memory='x' (file {here / 'daft-k8s.toml'})" in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"num_workers = ", "malformed TOML"),
        (b"num_workers 3", "malformed TOML"),
        (b"a = 1\na = 2", "malformed TOML"),
        (b"\xff\xfe", "not UTF-8 text"),
    ],
)
def test_a_malformed_file_is_refused_with_its_path(here: Path, content: bytes, reason: str) -> None:
    (here / "c.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        load({"config_file": "c.toml"}, {}, here)
    assert "config_file='c.toml' (argument config_file)" in str(caught.value)


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("none.toml", "cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
        ("", "not a path"),
        (5, "not a path"),
        ("a\0b", "cannot be read"),
    ],
)
def test_a_file_that_is_named_but_not_there_is_refused(here: Path, named: object, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        load({"config_file": named}, {}, here)


def test_a_file_that_a_variable_names_must_be_there(here: Path) -> None:
    with pytest.raises(ConfigurationError, match="environment variable DAFT_K8S_CONFIG"):
        load({}, {"DAFT_K8S_CONFIG": "none.toml"}, here)


@pytest.mark.parametrize(("arguments", "part"), CONTRADICTIONS)
def test_options_that_contradict_each_other_are_refused(read: Load, arguments: dict[str, object], part: str) -> None:
    text = message(read, allocation="pod", **arguments)
    assert text.startswith("The configuration has a mistake;")
    assert part in text
    assert "Accepted: " in text


def test_all_mistakes_of_all_sources_come_in_one_message(read: Load) -> None:
    text = message(
        read,
        {"DAFT_K8S_WORKER_CPU": "x", "DAFT_K8S_COLOUR": "red"},
        toml='log_level = "LOUD"\nsize = 3',
        num_workers=0,
        worker_memory="8 apples",
        allocation="cloud",
        preset="fast",
        min_workers=3,
        max_workers=2,
    )
    assert text.startswith("The configuration has 9 mistakes; nothing was started:\n  - ")
    assert text.count("\n  - ") == 9
    wrong_values = ["worker_cpu=", "log_level=", "num_workers=0", "worker_memory=", "allocation=", "preset="]
    for name in [*wrong_values, "min_workers=3", "DAFT_K8S_COLOUR ", "size "]:
        assert f"\n  - {name}" in text


def test_a_wrong_option_causes_no_further_mistakes_about_itself(read: Load) -> None:
    assert message(read, allocation="pod", min_workers="x", max_workers=2, num_workers=1).count("\n  - ") == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("env", {"PASSWORD": 12345678}),
        ("env", {"A-B": "12345678"}),
        ("env", "PASSWORD:12345678"),
        ("env", '{"PASSWORD": "12345678"'),
        ("env", ["12345678"]),
        ("pod_template", '{"spec": {"password": "12345678"}'),
        ("pod_template", "spec: {password: 12345678}"),
        ("pod_template", {"spec": {"a": [{"value": "12345678"}, object()]}}),
        ("pod_template", {"kind": "Secret", "spec": {"password": "12345678"}}),
    ],
)
def test_no_message_shows_a_secret(read: Load, option: str, value: object) -> None:
    messages = [message(read, **{option: value})]
    if isinstance(value, str):
        messages.append(message(read, {FIELDS[option].variable: value}))
    for text in messages:
        assert "12345678" not in text
        assert f"{option}=(hidden)" in text


def test_a_long_value_is_cut_in_the_message(read: Load) -> None:
    assert len(message(read, namespace="x" * 10_000)) < 500


def test_a_configuration_made_by_hand_is_checked_as_well() -> None:
    wrong = Configuration(num_workers=0, worker_memory_bytes=1, allocation="cloud")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as caught:
        wrong.validate()
    text = str(caught.value)
    assert text.startswith("The configuration has 3 mistakes;")
    for part in ("num_workers=0", "worker_memory=1", "allocation='cloud'"):
        assert part in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_workers": "2"},
        {"min_workers": "x"},
        {"worker_memory_bytes": "4Gi"},
        {"worker_cpu": -1.0},
        {"worker_gpu": None},
        {"env": ["a"]},
        {"log_level": "info"},
        {"max_message_bytes": "x", "worker_memory_bytes": None},
    ],
)
def test_a_configuration_made_by_hand_holds_the_values_in_their_final_form(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Configuration(**wrong).validate()  # type: ignore[arg-type]


def test_a_right_configuration_made_by_hand_passes() -> None:
    Configuration().validate()
    Configuration(
        allocation="pod",
        min_workers=0,
        max_workers=3,
        node_selector={"a": "b"},  # type: ignore[arg-type]
        tolerations=[{"key": "a"}],  # type: ignore[arg-type]
        pod_template=FrozenMap({"spec": {}}),
    ).validate()


def test_every_option_has_a_value_that_is_refused(read: Load) -> None:
    class Unreadable:
        pass

    for name in FIELDS:
        assert f"{name}=" in message(read, **{name: Unreadable()})


def test_a_changed_copy_is_checked_with_the_origins_of_the_original(read: Load) -> None:
    changed = dataclasses.replace(read(num_workers=2), num_workers=-2)
    with pytest.raises(ConfigurationError, match="num_workers=-2"):
        changed.validate()


def test_what_an_unknown_variable_could_mean_is_told_in_full(read: Load) -> None:
    assert "did you mean DAFT_K8S_CONFIG?" in message(read, {"DAFT_K8S_CONFIGS": "x"})
    known = ", ".join([*(field.variable for field in FIELDS.values()), "DAFT_K8S_CONFIG"])
    assert f"DAFT_K8S_XYZZY (environment variable): unknown option; known variables are {known}" in message(
        read, {"DAFT_K8S_XYZZY": "x"}
    )


@pytest.mark.parametrize(
    ("name", "meant"), [("Worker-GPU", "worker_gpu"), ("gpus", "worker_gpu"), ("name-space", "namespace")]
)
def test_an_option_is_known_by_its_other_names_and_spellings(read: Load, name: str, meant: str) -> None:
    assert f"did you mean {meant}?" in message(read, **{name: 1})


def test_a_value_is_shown_up_to_80_characters(read: Load) -> None:
    assert f"image='{'x ' * 39}'" in message(read, image="x " * 39)
    assert f"image='{'x ' * 38}..." in message(read, image="x " * 40)


def test_a_message_of_the_size_of_a_workers_memory_is_accepted(read: Load) -> None:
    assert read(allocation="pod", max_message_bytes="256Mi", worker_memory="256Mi").max_message_bytes == 2**28
