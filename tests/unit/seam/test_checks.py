"""The start-up check of Daft's version and hooks.

Not covered: a newer Daft's hooks (`test_newer`), and queries on the oldest Daft (`make versions`).
"""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from daft_k8s.errors import VersionMismatchError
from daft_k8s.seam.checks import (
    CALLS,
    HOOKS,
    SUPPORTED_RANGE,
    check_hooks,
    check_replacements,
    check_version,
    find_changed_calls,
    find_missing_hooks,
)
from daft_k8s.seam.install import _handles, _replacements

ROOT = Path(__file__).parents[3]
EVERY_HOOK = [(module, name) for module, names in HOOKS.items() for name in names]
PUBLIC = {"daft", "daft.io", "daft.logical.builder", "daft.schema", "daft.recordbatch.micropartition"}
"""Modules whose names stay, or that are looked for under another module's name."""


@pytest.mark.parametrize("version", ["0.7.16", "0.7.26", "0.7.100", "0.7.26+local", "0.7.26.dev3"])
def test_versions_of_the_supported_range_are_accepted(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["0.7.15", "0.6.0", "0.8.0", "0.8.0rc1", "1.0.0", "nonsense"])
def test_other_versions_are_refused_naming_both(version: str) -> None:
    with pytest.raises(VersionMismatchError) as caught:
        check_version(version)
    assert version in str(caught.value)
    assert SUPPORTED_RANGE in str(caught.value)


def test_the_installed_daft_has_every_hook_and_calls_no_others() -> None:
    assert find_missing_hooks() == []
    assert find_changed_calls() == []
    assert check_replacements("0.7.99", _replacements(), _handles()) == []


def fake(names: tuple[str, ...], module: str) -> types.ModuleType:
    """A module with nothing but these names."""
    made = types.ModuleType(module)
    for name in names:
        found: object = made
        *parents, last = name.split(".")
        for parent in parents:
            if not hasattr(found, parent):
                setattr(found, parent, types.SimpleNamespace())
            found = getattr(found, parent)
        if not hasattr(found, last):
            setattr(found, last, types.SimpleNamespace())
    return made


@pytest.mark.parametrize(("module", "hook"), EVERY_HOOK)
def test_a_hook_that_is_gone_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch, module: str, hook: str) -> None:
    for name, names in HOOKS.items():
        left = tuple(each for each in names if not (name == module and (each == hook or each.startswith(f"{hook}."))))
        monkeypatch.setitem(sys.modules, f"fake.{name}", fake(left, name))
    # Of a class that is gone, all members are gone too.
    gone = [each for each in HOOKS[module] if each == hook or each.startswith(f"{hook}.")]
    with pytest.raises(VersionMismatchError, match=r"0\.7\.99 lacks") as caught:
        check_hooks("0.7.99", {f"fake.{name}": names for name, names in HOOKS.items()})
    assert all(f"fake.{module}.{each}" in str(caught.value) for each in gone)
    assert str(caught.value).count("fake.") == len(gone)


def test_a_module_that_is_gone_is_named() -> None:
    assert find_missing_hooks({"daft.gone": ("a", "b")}) == ["daft.gone"]


def imports_of_daft() -> Iterator[tuple[str, str]]:
    """What our code imports of Daft's inner modules where it runs, and not for types alone."""
    package = ROOT / "daft_k8s"
    for path in [*package.glob("seam/*.py"), *package.glob("worker/*.py"), *package.glob("*.py")]:
        tree = ast.parse(path.read_text())
        for_types = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.ImportFrom)
                and id(node) not in for_types
                and (node.module or "").startswith("daft.")
            ):
                yield from ((str(node.module), alias.name) for alias in node.names)


def test_every_name_that_is_imported_of_dafts_inner_modules_is_checked() -> None:
    checked = {(module, name.partition(".")[0]) for module, name in EVERY_HOOK} | {
        (parent, child) for parent, _, child in (module.rpartition(".") for module in HOOKS)
    }
    imported = {(module, name) for module, name in imports_of_daft() if module not in PUBLIC}
    assert imported, "nothing was found, so nothing is shown"
    assert imported <= checked


def test_a_daft_of_after_the_range_is_told_from_one_of_before_it() -> None:
    with pytest.raises(VersionMismatchError, match=r"daft 0\.8\.0 .* may change what .* install a newer daft_k8s"):
        check_version("0.8.0")
    with pytest.raises(VersionMismatchError, match=r"daft 0\.7\.15 is installed, .* install a Daft of that range$"):
        check_version("0.7.15")


@pytest.mark.parametrize("call", CALLS)
def test_every_call_that_is_checked_exists(call: str) -> None:
    # With an impossible number of arguments it is found to differ, so its signature was seen.
    assert len(find_changed_calls({call: 99})) == 1


def test_a_function_of_dafts_that_takes_other_arguments_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    import daft.naming

    # If the check were the first to import this module, it would keep the replaced function after the test.
    import daft.runners.native_runner

    monkeypatch.setattr(daft.naming, "generate_query_name", lambda prefix: prefix)
    with pytest.raises(VersionMismatchError, match=r"passes: daft\.naming\.generate_query_name\(prefix\); install"):
        check_hooks("0.7.99")
    monkeypatch.setattr(daft.naming, "generate_query_name", lambda prefix="": prefix)
    check_hooks("0.7.99")
