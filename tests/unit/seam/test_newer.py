"""A Daft with hooks that daft_k8s does not know: simulated by sources that Daft does not have.

The real install on a Daft that was altered on the disk runs in a process of its own. Not covered: queries on a newer
Daft, which the nightly workflow runs.
"""

from __future__ import annotations

import inspect
import json
import logging
import pickle
import subprocess
import sys
from typing import Any

import pytest

from daft_k8s.errors import UnsupportedError, VersionMismatchError
from daft_k8s.seam import comparison
from daft_k8s.seam.checks import check_replacements
from daft_k8s.seam.comparison import DifferenceKind, find_differences
from daft_k8s.seam.install import _handles, _replacements
from daft_k8s.seam.newer import adapt, describe, find_abstract

FLOTILLA = "daft.runners.flotilla"


class Handle:
    def stop(self) -> str:
        return "stopped"


def plain(one: int, two: int = 2) -> tuple[int, int]:
    return one, two


async def later(one: int) -> int:
    return one


REPLACEMENTS: dict[str, dict[str, Any]] = {FLOTILLA: {"plain": plain, "later": later, "free": lambda *arguments: None}}
HANDLES: dict[str, dict[str, Any]] = {FLOTILLA: {"DaftHandle": Handle}}
KNOWN = {FLOTILLA: frozenset({"not_needed"})}


def differences(source: str, *, called: bool = True) -> dict[str, str]:
    found = find_differences(REPLACEMENTS, HANDLES, KNOWN, source_of=lambda _: source, is_called=lambda name: called)
    return {difference.name: f"{difference.kind.name} {difference.detail}".strip() for difference in found}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def plain(one, two=2): ...", {}),
        ("def plain(one): ...", {}),  # ours has a default for what an older Daft does not pass
        ("def free(one, two, three): ...", {}),
        ("def not_needed(): ...\ndef _own(): ...\nclass _Own: ...", {}),
        ("async def fresh(): ...", {"fresh": "NEW"}),
        ("class Fresh: ...", {"Fresh": "NEW"}),
        ("def plain(one, two=2, three=3): ...", {"plain": "MORE_ARGUMENTS three"}),
        ("def plain(one, two=2, *, named=None): ...", {"plain": "MORE_ARGUMENTS named"}),
        ("def plain(one, two, three): ...", {"plain": "INCOMPATIBLE three"}),
        ("def plain(one, two=2, *, named): ...", {"plain": "INCOMPATIBLE named"}),
        ("def plain(zero, one, two=2): ...", {"plain": "INCOMPATIBLE zero, one, two"}),
        ("def plain(two, one): ...", {"plain": "INCOMPATIBLE two, one"}),
        ("def plain(): ...", {"plain": "INCOMPATIBLE"}),
        ("async def plain(one, two=2): ...", {"plain": "INCOMPATIBLE coroutine or not"}),
        ("def later(one): ...", {"later": "INCOMPATIBLE coroutine or not"}),
        ("class DaftHandle:\n def stop(self): ...\n def _own(self): ...", {}),
        ("class DaftHandle:\n def drain(self): ...", {"DaftHandle.drain": "NEW"}),
        ("class DaftHandle:\n def stop(self, wait=True): ...", {"DaftHandle.stop": "MORE_ARGUMENTS wait"}),
        ("class DaftHandle:\n def stop(self, wait): ...", {"DaftHandle.stop": "INCOMPATIBLE wait"}),
    ],
)
def test_what_daft_has_changed_is_told_apart(source: str, found: dict[str, str]) -> None:
    assert differences(source) == found
    assert differences(source, called=False) == {}


def test_a_module_that_an_older_daft_does_not_have_is_no_difference() -> None:
    assert find_differences(REPLACEMENTS, HANDLES, KNOWN, source_of=lambda _: None) == []


def adapted(source: str) -> tuple[dict[str, Any], type]:
    class Own(Handle): ...

    found = find_differences(
        REPLACEMENTS, {FLOTILLA: {"DaftHandle": Own}}, KNOWN, source_of=lambda _: source, is_called=lambda _: True
    )
    return adapt(REPLACEMENTS, {FLOTILLA: {"DaftHandle": Own}}, found, "0.7.99")[FLOTILLA], Own


def test_a_new_hook_is_refused_by_name_when_it_is_called() -> None:
    ours, handle = adapted("def fresh(): ...\nclass DaftHandle:\n def drain(self): ...")
    assert ours["plain"] is plain
    for call in (ours["fresh"], handle().drain, lambda: ours["fresh"](1, two=2)):
        with pytest.raises(UnsupportedError, match=r"daft 0\.7\.99 calls daft\.runners\.flotilla\.\S*.* scheduling"):
            call()
    assert handle().stop() == "stopped"


def test_a_hook_whose_arguments_mean_something_else_is_refused_and_never_called_wrongly() -> None:
    ours, _ = adapted("def plain(zero, one): ...")
    with pytest.raises(UnsupportedError, match=r"flotilla\.plain, which takes other arguments"):
        ours["plain"](1, 2)


def test_new_arguments_with_defaults_are_ignored() -> None:
    ours, handle = adapted(
        "def plain(one, two=2, three=3, *, four=4): ...\nclass DaftHandle:\n def stop(self, w=1): ..."
    )
    assert ours["plain"](1, 5, 3) == (1, 5)
    assert ours["plain"](1, two=6, four=7) == (1, 6)
    assert handle().stop(0) == handle().stop(w=2) == "stopped"
    assert inspect.signature(Handle.stop).parameters.keys() == {"self"}, "the class of others was changed"


def test_a_name_that_our_module_lacks_is_named_and_counts_as_missing() -> None:
    ask = adapted("")[0]["__getattr__"]
    with pytest.raises(UnsupportedError, match=r"daft\.runners\.flotilla\.Anything of daft 0\.7\.99"):
        ask("Anything")
    with pytest.raises(AttributeError):
        ask("Anything")
    with pytest.raises(AttributeError, match="has no attribute '__path__'"):
        ask("__path__")
    with pytest.raises(UnsupportedError) as caught:
        ask("Anything")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_warning_names_hooks_features_and_what_to_do() -> None:
    source = "def fresh(): ...\ndef plain(one, two=2, three=3): ..."
    found = find_differences(REPLACEMENTS, HANDLES, KNOWN, source_of=lambda _: source, is_called=lambda _: True)
    text = describe(found, "0.7.99")
    assert "daft 0.7.99" in text and "install a newer daft_k8s" in text
    assert "daft.runners.flotilla.fresh is new (for the scheduling of tasks on workers)" in text
    assert "ignored: daft.runners.flotilla.plain takes more arguments (three)" in text


def altered(monkeypatch: pytest.MonkeyPatch, module: str, change: tuple[str, str]) -> None:
    """Has Daft's source of a module read otherwise."""
    original = comparison._source_of

    def source_of(name: str) -> str | None:
        source = original(name)
        if name == module and source is not None:
            assert change[0] in source, "nothing is altered, so nothing is shown"
            source = source.replace(*change)
        return source

    monkeypatch.setattr(comparison, "_source_of", source_of)


def test_a_hook_that_every_query_needs_and_that_has_changed_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    altered(monkeypatch, FLOTILLA, ("    existing_worker_ids: list[str],\n", "    node_ids: list[str],\n"))
    with pytest.raises(VersionMismatchError, match=r"flotilla\.start_ray_workers takes other arguments"):
        check_replacements("0.7.99", _replacements(), _handles())


def test_a_hook_of_one_feature_that_has_changed_costs_that_feature_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    altered(monkeypatch, FLOTILLA, ("    samples: list[ray.ObjectRef],\n", "    sampled: list[ray.ObjectRef],\n"))
    (found,) = check_replacements("0.7.99", _replacements(), _handles())
    assert (found.name, found.kind) == ("get_boundaries", DifferenceKind.INCOMPATIBLE)
    assert "for sort() and sort-merge joins" in describe([found], "0.7.99")


def test_the_proposed_pool_of_actors_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    proposed = """
class UDFActorPool:
    async def start(self): ...
    async def get_actor_handles(self, pending_tasks=1): ...
    async def get_leased_actor_handles(self, pending_tasks=1): ...
    def cleanup_retired_actors(self): ...
    def lease_actor_handles(self): ...
    def release_actor_handles(self): ...
    def teardown(self): ...

async def start_udf_actor_pool(
    projection, min_actors, max_actors, num_gpus_per_actor, num_cpus_per_actor, memory_per_actor, ray_options,
    timeout, actor_name=None,
): ...
"""
    found = find_differences(
        _replacements(),
        _handles(),
        source_of=lambda name: proposed if "actor_pool" in name else None,
        is_called=lambda _: True,
    )
    assert found == []


def test_abstract_methods_that_our_classes_lack_are_refused_and_do_not_stop_python() -> None:
    import abc

    class Base(abc.ABC):
        @abc.abstractmethod
        def old(self) -> int: ...
        @abc.abstractmethod
        def fresh(self) -> int: ...

    class Ours(Base):
        def old(self) -> int:
            return 1

    handles: dict[str, dict[str, Any]] = {FLOTILLA: {"Theirs": Ours}}
    found = find_abstract(handles)
    assert [difference.name for difference in found] == ["Theirs.fresh"]
    adapt({FLOTILLA: {}}, handles, found, "0.7.99")
    assert Ours().old() == 1  # type: ignore[abstract]
    with pytest.raises(UnsupportedError, match=r"Theirs\.fresh"):
        Ours().fresh()  # type: ignore[abstract]


PROGRAM = """
import json, logging, sys
from daft_k8s.seam import comparison

records = []
class Keep(logging.Handler):
    def emit(self, record): records.append([record.levelname, record.getMessage()])
logging.getLogger("daft_k8s").addHandler(Keep())

original = comparison._source_of
fresh = "def drain_workers(): ...\\nasync def get_sorted(samples): ...\\n"
comparison._source_of = lambda name: (original(name) or "") + (fresh if name.endswith("flotilla") else "")
comparison._is_in_extension = lambda name: True

from daft_k8s.seam.install import install
install()
install()
import daft.runners.flotilla as flotilla
found = {"log": records, "has": hasattr(flotilla, "nothing"), "sort": callable(flotilla.get_boundaries)}
for name in ("drain_workers", "get_sorted", "RemoteFlotillaRunner"):
    try:
        getattr(flotilla, name)()
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def test_a_newer_daft_is_installed_with_one_warning_and_the_feature_is_refused_when_used() -> None:
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    ((level, text),) = found["log"]
    assert level == logging.getLevelName(logging.WARNING)
    assert "flotilla.drain_workers is new" in text and "flotilla.get_sorted is new" in text
    assert (found["has"], found["sort"]) == (False, True)
    assert found["drain_workers"].startswith("UnsupportedError: daft ")
    assert "flotilla.get_sorted" in found["get_sorted"]
    assert found["RemoteFlotillaRunner"].startswith("UnknownHookError: ")
