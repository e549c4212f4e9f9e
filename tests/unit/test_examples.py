"""The examples are what they should be as far as this machine can tell.

Not covered: Airflow, Argo, Prefect and Dagster themselves (docs/workflows.md tells what was tried).
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from daft_k8s.config import load
from daft_k8s.kube.objects.rights import role_rules

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
KUBECTL = [*yaml.safe_load_all((EXAMPLES / "workflows" / "kubectl.yaml").read_text())]
ARGO = yaml.safe_load((EXAMPLES / "workflows" / "argo.yaml").read_text())


def object_of(kind: str) -> dict[str, Any]:
    [found] = [item for item in KUBECTL if item["kind"] == kind]
    return found


def settings(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_every_python_file_is_python(path: Path) -> None:
    compile(path.read_text(), str(path), "exec")


def test_the_plain_role_is_what_a_driver_needs() -> None:
    assert object_of("Role")["rules"] == role_rules()


def test_the_plain_jobs_settings_are_understood_and_its_parts_fit() -> None:
    pod = object_of("Job")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    configuration = load({}, settings(container))
    assert (configuration.allocation, configuration.num_workers) == ("pod", 3)
    assert container["args"][-1] == f"/job/{next(iter(object_of('ConfigMap')['data']))}"
    assert pod["serviceAccountName"] == object_of("ServiceAccount")["metadata"]["name"]
    [binding] = object_of("RoleBinding")["subjects"]
    assert binding["name"] == pod["serviceAccountName"]


def test_the_argo_steps_settings_are_understood() -> None:
    [step] = ARGO["spec"]["templates"]
    values = {entry["name"]: entry["value"] for entry in ARGO["spec"]["arguments"]["parameters"]}
    plain = {
        name: values[value.removeprefix("{{workflow.parameters.").removesuffix("}}")] if "{{" in value else value
        for name, value in settings(step["script"]).items()
    }
    configuration = load({}, plain)
    assert (configuration.allocation, configuration.num_workers) == ("pod", 3)
    ast.parse(step["script"]["source"])


@pytest.mark.parametrize("name", ["airflow_dag.py", "dagster_op.py", "prefect_flow.py"])
def test_what_a_workflow_passes_to_the_runner_is_accepted(name: str) -> None:
    """The keyword arguments of set_runner_k8s, and the variables in WORKERS."""
    tree = ast.parse((EXAMPLES / "workflows" / name).read_text())
    found = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "daft_k8s.set_runner_k8s":
            load({keyword.arg or "": ast.literal_eval(keyword.value) for keyword in node.keywords}, {})
            found += 1
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "WORKERS":
            load({}, ast.literal_eval(node.value))
            found += 1
    assert found
