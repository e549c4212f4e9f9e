"""What the project says about itself: packaging, pins, dependencies, the hook for `DAFT_RUNNER=k8s`.

Not covered: that a wheel can be built and holds all this (`make wheel`); what the hook starts (tests/local).
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOOK = (ROOT / "daft_k8s.data" / "purelib" / "daft_k8s.pth").read_text()
NAMES_OF_IMPORTS = {
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "_pytest": "pytest",
}
OPTIONAL = {"aiohttp", "kubernetes_asyncio", "prometheus_client", "ray", "yaml"}
"""Imported where they are used, with an error that says so where they are missing."""


def distribution(name: str) -> str:
    return re.sub(r"[-_.]+", "-", NAMES_OF_IMPORTS.get(name, name)).lower()


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def nodes_that_run(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not only_for_types(child):
            yield child
            yield from nodes_that_run(child)


def imports(folder: str) -> Iterator[tuple[Path, str]]:
    """Top-level names that the Python files of a folder import when they run, wherever in the file."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in nodes_that_run(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            else:
                continue
            yield from ((path.relative_to(ROOT), name.partition(".")[0]) for name in names)


def strangers(folder: str, *, known: set[str]) -> list[str]:
    own = {"daft_k8s", "benchmarks", "tests", "scripts"}
    return sorted(
        {
            f"{path} imports {name}"
            for path, name in imports(folder)
            if name not in sys.stdlib_module_names | own | OPTIONAL
            and distribution(name) not in known
            and not (ROOT / path).with_name(f"{name}.py").exists()
        }
    )


def pinned(lock: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / lock).read_text().splitlines()
    return {distribution(line.partition("==")[0]): line for line in lines}


def names(requirements: list[str]) -> set[str]:
    return {distribution(re.split(r"[<>=!;\[ ]", requirement)[0]) for requirement in requirements}


def test_the_package_imports_only_what_it_depends_on() -> None:
    assert strangers("daft_k8s", known=names(PROJECT["project"]["dependencies"])) == []


@pytest.mark.parametrize("folder", ["benchmarks", "tests/unit", "tests/local", "scripts"])
def test_what_the_checkout_imports_is_in_the_lock_file(folder: str) -> None:
    known = set(pinned("dev.txt")) | (set(pinned("docs.txt")) if folder == "scripts" else set())  # site_hooks.py
    assert strangers(folder, known=known) == []


@pytest.mark.parametrize("lock", ["dev.txt", "conformance.txt", "docs.txt", "mutation.txt"])
def test_a_lock_file_pins_exact_versions_and_names_no_index(lock: str) -> None:
    for line in pinned(lock).values():
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9a-zA-Z.+]+( ; .+)?", line)


def test_whatever_a_group_asks_for_is_in_the_lock_file() -> None:
    groups = PROJECT["dependency-groups"]
    asked = [entry for group in groups["dev"] for entry in groups[group["include-group"]]]
    assert names(asked + PROJECT["project"]["dependencies"]) <= set(pinned("dev.txt"))


def run_hook(tmp_path: Path, *, runner: str | None) -> str:
    """The modules of ours that an interpreter has loaded after the hook's line, with a stand-in for the package."""
    package = tmp_path / "daft_k8s"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_autostart.py").touch()
    environment = {name: value for name, value in os.environ.items() if name != "DAFT_RUNNER"}
    environment |= {"PYTHONPATH": str(tmp_path)} | ({"DAFT_RUNNER": runner} if runner is not None else {})
    # -S: without site-packages, hence without the installed hook; the line itself is what is tried.
    code = f"{HOOK}\nimport sys; print('daft_k8s._autostart' in sys.modules)"
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


@pytest.mark.parametrize("runner", ["k8s", "K8S"])
def test_the_hook_starts_when_the_environment_asks_for_this_runner(tmp_path: Path, runner: str) -> None:
    assert run_hook(tmp_path, runner=runner) == "True"


@pytest.mark.parametrize("runner", [None, "", "native", "ray"])
def test_the_hook_does_nothing_otherwise(tmp_path: Path, runner: str | None) -> None:
    assert run_hook(tmp_path, runner=runner) == "False"


def test_the_hook_is_one_line_that_site_executes() -> None:
    assert HOOK.startswith("import ")
    assert len(HOOK.splitlines()) == 1


def test_the_package_is_marked_as_typed() -> None:
    assert (ROOT / "daft_k8s" / "py.typed").is_file()


def test_every_script_that_the_makefile_calls_can_be_run() -> None:
    called = set(re.findall(r"\./(scripts/\w+\.sh)", (ROOT / "Makefile").read_text()))
    assert called
    assert [script for script in sorted(called) if not os.access(ROOT / script, os.X_OK)] == []


def test_a_checkout_that_is_linked_into_an_environment_has_the_commands_of_a_wheel(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("link_checkout", ROOT / "scripts" / "link_checkout.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.link(tmp_path, tmp_path, sys.executable)
    assert {path.name for path in tmp_path.iterdir()} == {"daft_k8s.pth", *PROJECT["project"]["scripts"]}
    for name in PROJECT["project"]["scripts"]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [tmp_path / name, "--version"], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        assert PROJECT["project"]["name"].replace("-", "_") in done.stdout.replace("-", "_")
