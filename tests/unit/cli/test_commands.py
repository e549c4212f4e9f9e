"""The commands that need no cluster, through click's runner.

Not covered: commands that start workers (tests/local/test_cli.py) or talk to a cluster (tests/integration/test_cli.py).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from daft_k8s.cli import exit_codes, run
from daft_k8s.cli.main import COMMANDS, cli
from daft_k8s.cli.options import load_configuration
from daft_k8s.cli.yaml import to_yaml
from daft_k8s.config import FIELDS, load
from daft_k8s.config.environment import as_environment
from daft_k8s.kube.objects.rights import role_rules


@pytest.fixture(autouse=True)
def no_files_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.mark.parametrize("command", [*COMMANDS, "config show", "config validate", "config generate", "config env"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = call(*command.split(), "--help")
    assert result.exit_code == 0, result.output
    assert "Examples:" in result.output or command == "config"
    assert result.output.isascii()


def test_the_help_lists_every_command_and_every_exit_code() -> None:
    output = call("--help").output
    assert all(f"  {name} " in output for name in COMMANDS)
    assert all(f"  {code} " in output for code in exit_codes.WORDS)


def test_every_command_in_the_list_exists() -> None:
    context = click.Context(cli)
    assert all(isinstance(cli.get_command(context, name), click.Command) for name in COMMANDS)
    assert call("no-such-command").exit_code == exit_codes.USAGE


def test_config_show_tells_values_and_where_they_come_from() -> None:
    result = call("config", "show", "-o", "num_workers=3", "--worker-memory", "2Gi", "--output", "json")
    shown = json.loads(result.output)
    assert shown["num_workers"] == {"value": 3, "source": "argument num_workers"}
    assert shown["worker_memory"]["value"] == "2Gi"
    assert shown["queue_ahead"]["source"] == "default"
    assert "num_workers" in call("config", "show").output


def test_config_validate_lists_all_mistakes_and_has_an_exit_code_of_its_own() -> None:
    result = call("config", "validate", "-o", "num_workers=0", "-o", "nonsense=1")
    assert result.exit_code == exit_codes.CONFIGURATION
    assert "num_workers" in result.output and "nonsense" in result.output
    assert call("config", "validate").exit_code == 0


def test_an_option_without_a_value_is_a_wrong_command_line() -> None:
    result = call("config", "show", "-o", "num_workers")
    assert result.exit_code == exit_codes.USAGE
    assert "name=value" in result.output


def test_an_option_that_is_given_twice_differently_is_refused() -> None:
    assert call("config", "show", "-w", "3", "-o", "num_workers=4").exit_code == exit_codes.USAGE
    assert call("config", "show", "-w", "3", "-o", "num_workers=3").exit_code == 0


@pytest.mark.parametrize("preset", ["development", "production", "high-performance"])
def test_a_generated_file_is_valid_and_names_every_option(preset: str, tmp_path: Path) -> None:
    generated = call("config", "generate", "--preset", preset).output
    path = tmp_path / "generated.toml"
    path.write_text(generated)
    assert load({"config_file": str(path)}).preset == preset
    assert all(f"# {name} =" in generated for name in FIELDS if name != "preset")


def test_the_values_in_a_generated_file_can_be_taken(tmp_path: Path) -> None:
    path = tmp_path / "generated.toml"
    lines = call("config", "generate", "--preset", "production").output.splitlines()
    names = tuple(f"# {name} = " for name in FIELDS)
    path.write_text("\n".join(line.removeprefix("# ") if line.startswith(names) else line for line in lines))
    assert load({"config_file": str(path)}).allocation == "pod"


def test_config_env_hides_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAFT_K8S_ENV", "KEY=secret-value")
    monkeypatch.setenv("DAFT_K8S_NUM_WORKERS", "3")
    result = call("config", "env", "--set")
    assert result.output.splitlines() == ["DAFT_K8S_NUM_WORKERS=3", "DAFT_K8S_ENV=(hidden)"]
    assert len(json.loads(call("config", "env", "--output", "json").output)) == len(FIELDS)


def test_what_is_chosen_survives_the_way_through_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('worker_cpu = 1.5\nworker_memory = "3Gi"\nlabels = {team = "a,b"}\n'.replace("a,b", "ab"))
    options: dict[str, Any] = {
        "config_file": str(file),
        "image": "x:1",
        "env": {"A": "1,2=3"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "pip": ["emoji>=2,<3"],
        "max_workers": 5,
    }
    first = load_configuration(options, "pod")
    second = load({}, as_environment(first))
    assert second == first and first.allocation == "pod"


def test_an_allocation_that_somebody_chose_is_kept() -> None:
    assert load_configuration({"allocation": "statefulset", "image": "x"}, "pod").allocation == "statefulset"


def test_rbac_prints_the_one_list_of_rights() -> None:
    objects = list(yaml.safe_load_all(call("rbac", "-n", "jobs").output))
    assert [item["kind"] for item in objects] == ["ServiceAccount", "Role", "RoleBinding"]
    assert objects[1]["rules"] == role_rules()
    assert {item["metadata"]["namespace"] for item in objects} == {"jobs"}
    assert json.loads(call("rbac", "-n", "jobs", "--output", "json").output)["items"] == objects
    (role,) = yaml.safe_load_all(call("rbac", "--role-only").output)
    assert role["kind"] == "Role" and "namespace" not in role["metadata"]


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"b": [1, "x", None, True]}, "c": [], "d": {}},
        [{"a": "yes", "b": "3"}, {"c": ["x: y", "- z"]}, "#"],
        {"nested": [[1, 2], [{"a": 1}]], "text": "line\nline", "empty": ""},
        "plain",
    ],
)
def test_yaml_reads_back_as_what_it_was(value: object) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str) -> None:
    assert "_DAFT_K8S_COMPLETE" in call("completion", shell).output


def test_the_shell_completes_options_by_name() -> None:
    result = CliRunner().invoke(
        cli,
        prog_name="daft-k8s",
        env={"_DAFT_K8S_COMPLETE": "bash_complete", "COMP_WORDS": "daft-k8s run -o worker_m", "COMP_CWORD": "3"},
    )
    assert "worker_memory=" in result.output


def test_a_local_run_becomes_the_script_with_the_options_in_its_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    became: list[Any] = []
    monkeypatch.setattr(run.os, "execve", lambda *arguments: became.append(arguments))
    script = tmp_path / "job.py"
    script.write_text("")
    call("run", "--local", "-w", "3", str(script), "--date", "2026-11-01", "-w", "9")
    _, program, environment = became[0]
    assert program[1:] == [str(script), "--date", "2026-11-01", "-w", "9"]
    assert environment["DAFT_RUNNER"] == "k8s"
    assert environment["DAFT_K8S_ALLOCATION"] == "local"
    assert environment["DAFT_K8S_NUM_WORKERS"] == "3"
    assert environment["PATH"] == os.environ["PATH"]


def test_a_script_that_is_not_there_is_named() -> None:
    result = call("run", "--local", "nowhere.py")
    assert result.exit_code == exit_codes.CONFIGURATION
    assert "nowhere.py" in result.output


def test_a_run_on_the_cluster_needs_an_image(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("")
    result = call("run", "job.py")
    assert result.exit_code == exit_codes.CONFIGURATION
    assert "--image" in result.output and "--local" in result.output
