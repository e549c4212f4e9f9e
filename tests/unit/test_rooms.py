"""The signposts of rooms and the picture of their layers agree with the contracts on imports in pyproject.toml.

Not covered: that the code keeps the contracts (import-linter does, in `make lint`).
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
IMPORTERS = {
    module: contract["allowed_importers"]
    for contract in CONTRACTS
    if contract["type"] == "protected"
    for module in contract["protected_modules"]
}
ROOMS = [
    ".".join(path.parent.relative_to(ROOT).parts)
    for pattern in ("*/__init__.py", "kube/*/__init__.py")
    for path in sorted((ROOT / "daft_k8s").glob(pattern))
]
FREE = "Every room may import this one."


def folder(module: str) -> Path:
    return ROOT / module.replace(".", "/")


def signpost(room: str) -> str:
    return " ".join((ast.get_docstring(ast.parse((folder(room) / "__init__.py").read_text())) or "").split())


def imported_modules(module: str) -> Iterator[str]:
    """The modules that a module, or those of a room, import anywhere in their code."""
    files = folder(module).rglob("*.py") if folder(module).is_dir() else [folder(module).with_suffix(".py")]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ROOMS)
def test_a_signpost_names_exactly_the_importers_that_the_contract_allows(room: str) -> None:
    text = signpost(room)
    if room not in IMPORTERS:
        assert FREE in text, "a room without a contract of its own says that every room may import it"
        return
    [named] = re.findall(r"Imported by (no other room|`.*?`)\.(?: |$)", text)
    names = [] if named == "no other room" else re.findall(r"`([\w.]+)`", named)
    assert sorted(names) == sorted(name.removeprefix("daft_k8s.").removeprefix("kube.") for name in IMPORTERS[room])


@pytest.mark.parametrize(("room", "importer"), [(room, name) for room, names in IMPORTERS.items() for name in names])
def test_an_importer_that_is_allowed_does_import_the_room(room: str, importer: str) -> None:
    assert any(f"{name}.".startswith(f"{room}.") for name in imported_modules(importer))


def test_observers_are_given_facts_and_snapshots_and_call_nothing_of_the_session() -> None:
    """What `observe` takes from the extension are facts and snapshots; rooms that could act are above it."""
    of_extension = {name for name in imported_modules("daft_k8s.observe") if name.startswith("daft_k8s._native")}
    assert {name.rpartition(".")[2] for name in of_extension} <= {"Fact", "FactKind", "JournalSnapshot", "PoolSnapshot"}
    rooms = {name.split(".")[1] for name in imported_modules("daft_k8s.observe") if name.startswith("daft_k8s.")}
    assert rooms == {"_native", "observe", "pool_news", "wire"}


def order_of_layers(container: str) -> dict[str, int]:
    [layers] = [contract["layers"] for contract in CONTRACTS if contract.get("containers") == [container]]
    return {name: place for place, layer in enumerate(layers) for name in layer.split(" | ")}


def test_the_picture_of_the_rooms_shows_every_room_in_the_order_of_its_layer() -> None:
    order, inner = order_of_layers("daft_k8s"), order_of_layers("daft_k8s.kube")
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## Rooms and layers")[2]
    picture = page.split("```")[1]
    shown = [name for name in re.findall(r"│ (\w+)  ", picture) if name in order]
    assert {room.split(".")[1] for room in ROOMS} <= set(shown)
    places = [order[name] for name in shown if name != "worker"]  # it stands beside the driver's rooms
    assert places == sorted(places)
    shown = [name for name in re.findall(r"\w+", picture.partition("│ kube ")[2]) if name in inner]
    assert sorted(shown) == sorted(inner)
    assert [inner[name] for name in shown] == sorted(inner.values())
