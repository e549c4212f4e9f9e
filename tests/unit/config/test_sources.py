"""Where values come from.

Covered: the order of the sources, the search for the file, the text forms of the
environment, remembered origins. Mistakes are in test_mistakes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daft_k8s.config import FIELDS, PRESETS, load
from daft_k8s.config.origin import Origin
from daft_k8s.errors import ConfigurationError
from tests.unit.config.conftest import Load


def test_without_any_source_the_configuration_is_a_local_pool(read: Load) -> None:
    configuration = read()
    assert (configuration.preset, configuration.allocation) == ("development", "local")
    assert {str(origin) for name, origin in configuration.origins.items() if name != "allocation"} == {"default"}


def test_each_source_goes_before_the_next_one(read: Load) -> None:
    toml = 'preset = "production"\nstart_timeout_seconds = 3'
    sources = [
        (read(preset="production").start_timeout_seconds, 600),
        (read(toml=toml).start_timeout_seconds, 3),
        (read({"DAFT_K8S_START_TIMEOUT_SECONDS": "2"}).start_timeout_seconds, 2),
        (read({"DAFT_K8S_START_TIMEOUT_SECONDS": "2"}, start_timeout_seconds=1).start_timeout_seconds, 1),
    ]
    assert [found for found, _ in sources] == [wanted for _, wanted in sources]


def test_each_value_remembers_its_source(read: Load, here: Path) -> None:
    configuration = read({"DAFT_K8S_WORKER_CPU": "2"}, toml='preset = "production"\nimage = "a/b:1"', num_workers=3)
    origins = configuration.origins
    assert origins["num_workers"] == Origin("argument", "num_workers")
    assert origins["worker_cpu"] == Origin("environment", "DAFT_K8S_WORKER_CPU")
    assert origins["image"] == Origin("file", str(here / "daft-k8s.toml"))
    assert origins["log_format"] == Origin("preset", "production")
    assert origins["namespace"] == Origin("default")
    assert set(origins) == set(FIELDS)


@pytest.mark.parametrize("place", ["argument", "environment", "file"])
def test_the_preset_itself_may_come_from_any_source(read: Load, place: str) -> None:
    configuration = {
        "argument": lambda: read(preset="production"),
        "environment": lambda: read({"DAFT_K8S_PRESET": "production"}),
        "file": lambda: read(toml='preset = "production"'),
    }[place]()
    assert configuration.allocation == "pod"


def test_an_argument_that_is_none_and_an_empty_variable_are_not_given(read: Load) -> None:
    configuration = read({"DAFT_K8S_NUM_WORKERS": " "}, toml="num_workers = 3", num_workers=None)
    assert configuration.num_workers == 3


def test_the_file_that_is_named_goes_before_those_that_lie_around(here: Path, home: Path) -> None:
    environ = {"HOME": str(home)}
    (home / ".config/daft-k8s/config.toml").write_text("num_workers = 4")
    assert load({}, environ, here).num_workers == 4
    (here / "daft-k8s.toml").write_text("num_workers = 3")
    assert load({}, environ, here).num_workers == 3
    (here / "b.toml").write_text("num_workers = 2")
    environ["DAFT_K8S_CONFIG"] = "b.toml"
    assert load({}, environ, here).num_workers == 2
    (here / "a.toml").write_text("num_workers = 1")
    assert load({"config_file": "a.toml"}, environ, here).num_workers == 1
    assert load({"config_file": here / "a.toml"}, environ, here).num_workers == 1


def test_files_are_not_merged(here: Path, home: Path) -> None:
    (home / ".config/daft-k8s/config.toml").write_text("queue_ahead = 7")
    (here / "daft-k8s.toml").write_text("num_workers = 3")
    configuration = load({}, {"HOME": str(home)}, here)
    assert (configuration.num_workers, configuration.queue_ahead) == (3, 1)


def test_without_a_home_there_is_no_file_to_read(here: Path) -> None:
    assert load({}, {}, here) == load({}, {"HOME": str(here)}, here)


def test_a_home_that_cannot_be_searched_is_no_mistake(here: Path, tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    assert load({}, {"HOME": str(no_folder)}, here).num_workers == 4


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("num_workers", "3", 3),
        ("worker_cpu", "1500m", 2.0),
        ("worker_memory", "2Gi", 2 * 2**30),
        ("worker_memory", "1.5e9", 1_500_000_000),
        ("worker_gpu", "0.5", 0.5),
        ("store_memory_share", "0.25", 0.25),
        ("log_level", "debug", "DEBUG"),
        ("image_pull_secrets", "a, b", ("a", "b")),
        ("image_pull_secrets", '["a", "b"]', ("a", "b")),
        ("node_selector", "disk=ssd, example.com/zone=a", {"disk": "ssd", "example.com/zone": "a"}),
        ("node_selector", '{"disk": "ssd"}', {"disk": "ssd"}),
        ("labels", "team=", {"team": ""}),
        ("env", "A=1,B=x=y", {"A": "1", "B": "x=y"}),
        ("env", '{"A": "1,2"}', {"A": "1,2"}),
        ("annotations", '{"example.com/note": "any text: ü"}', {"example.com/note": "any text: ü"}),
        ("tolerations", '[{"key": "gpu", "operator": "Exists"}]', ({"key": "gpu", "operator": "Exists"},)),
        ("pod_template", '{"spec": {"hostNetwork": true}}', {"spec": {"hostNetwork": True}}),
        ("shuffle_partitions", "16", 16),
        ("spill_dir", "/var/spill", "/var/spill"),
        ("spill_size_limit", "50Gi", 50 * 2**30),
        ("gpu_resource_name", "nvidia.com/mig-1g.5gb", "nvidia.com/mig-1g.5gb"),
        ("drain_timeout_seconds", "0", 0.0),
    ],
)
def test_text_of_the_environment_becomes_the_value(read: Load, option: str, text: str, value: object) -> None:
    configuration = read({FIELDS[option].variable: text})
    assert getattr(configuration, FIELDS[option].attribute) == value


def test_the_same_settings_are_equal_wherever_they_come_from(read: Load, here: Path) -> None:
    options: dict[str, object] = {
        "num_workers": 2,
        "worker_memory": "2Gi",
        "node_selector": {"disk": "ssd"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}],
        "image_pull_secrets": ["a"],
        "pod_template": {"spec": {"volumes": [{"name": "a", "emptyDir": {}}]}},
    }
    texts = {
        FIELDS[name].variable: value if isinstance(value, str) else json.dumps(value) for name, value in options.items()
    }
    toml = """
        num_workers = 2
        worker_memory = 2147483648
        image_pull_secrets = ["a"]
        tolerations = [{ operator = "Exists", key = "gpu", tolerationSeconds = 5 }]
        node_selector.disk = "ssd"
        [[pod_template.spec.volumes]]
        name = "a"
        emptyDir = {}
    """
    by_argument, by_variable, by_file = read(**options), read(texts), read(toml=toml)
    assert by_argument == by_variable == by_file
    assert len({by_argument, by_variable, by_file}) == 1
    assert by_argument.origins != by_variable.origins


def test_a_pod_template_is_read_from_a_file_beside_the_file_that_names_it(here: Path) -> None:
    (here / "conf").mkdir()
    (here / "conf/pod.json").write_text('{"kind": "Pod", "spec": {"nodeName": "a"}}')
    (here / "conf/c.toml").write_text('pod_template = "pod.json"')
    by_file = load({"config_file": "conf/c.toml"}, {}, here)
    by_argument = load({"pod_template": "conf/pod.json"}, {}, here)
    assert by_file.pod_template == by_argument.pod_template == {"kind": "Pod", "spec": {"nodeName": "a"}}


def test_a_pod_template_may_be_yaml(here: Path) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    (here / "pod.yaml").write_text("kind: Pod\nspec:\n  nodeName: a\n")
    assert load({"pod_template": "pod.yaml"}, {}, here).pod_template == {"kind": "Pod", "spec": {"nodeName": "a"}}


@pytest.mark.parametrize(
    "variable",
    [
        "DAFT_K8S_SERVICE_HOST",
        "DAFT_K8S_SERVICE_PORT",
        "DAFT_K8S_SERVICE_PORT_CONTROL",
        "DAFT_K8S_PORT",
        "DAFT_K8S_PORT_7777_TCP",
        "DAFT_K8S_PORT_7777_TCP_ADDR",
        "DAFT_K8S_WORKERS_SERVICE_HOST",
        "DAFT_K8S_WORKERS_PORT_7778_TCP_PROTO",
        "DAFT_K8S_INTERNAL_ANYTHING",
        "DAFT_K8SISH",
    ],
)
def test_variables_that_kubernetes_sets_for_a_service_are_no_options(read: Load, variable: str) -> None:
    assert read({variable: "tcp://10.0.0.1:7777"}) == read()


def test_every_preset_is_right_and_comes_with_what_it_promises(read: Load) -> None:
    for name, preset in PRESETS.items():
        configuration = read(preset=name)
        assert configuration.preset == name
        for option in preset.options:
            assert str(configuration.origins[option]) == f"preset {name}"
        assert set(preset.options) <= set(FIELDS)
        assert configuration.allocation == ("local" if name == "development" else "pod")


def test_sizes_of_a_preset_are_for_pods_alone(read: Load) -> None:
    pods = read(preset="high-performance")
    local = read(preset="high-performance", allocation="local")
    assert (pods.worker_cpu, pods.worker_memory_bytes) == (8.0, 64 * 2**30)
    assert (local.worker_cpu, local.worker_memory_bytes) == (read().worker_cpu, read().worker_memory_bytes)
    assert str(local.origins["worker_memory"]) == "default"


def test_a_preset_that_a_field_knows_exists_and_the_other_way_round() -> None:
    assert FIELDS["preset"].accepts == ", ".join(PRESETS)


def test_the_process_s_own_environment_and_folder_are_the_defaults(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.chdir(here)
    monkeypatch.setenv("DAFT_K8S_NUM_WORKERS", "5")
    (here / "daft-k8s.toml").write_text("queue_ahead = 9")
    configuration = load({})
    assert (configuration.num_workers, configuration.queue_ahead) == (5, 9)


def test_a_current_folder_that_was_removed_takes_no_other_option_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert load({"num_workers": 3, "working_dir": "/project"}, {}).num_workers == 3
    assert load({"working_dir": "."}, {}).working_dir == "/the current folder was removed"


def test_loading_wrong_options_from_a_file_leaves_no_half_made_configuration(read: Load) -> None:
    with pytest.raises(ConfigurationError):
        read(toml="num_workers = -1")
