"""TOML, YAML and Dockerfiles in the documents are what the text says: options, manifests, layers on our image.

Not covered: that an API server takes the manifests (tests/integration/test_docs.py), and that the images can be built.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from daft_k8s.config import Configuration, load
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.objects.rights import role_rules
from daft_k8s.kube.objects.shared_mounts import shared_places
from daft_k8s.kube.objects.target import Target
from tests.docs.blocks import Block, all_blocks, blocks

TARGET = Target("jobs", "image")
INSTRUCTIONS = {"ARG", "COPY", "ENV", "FROM", "RUN", "USER", "WORKDIR"}


def pods_of(block: Block, folder: Path) -> Configuration:
    """The configuration of a block, for Pods."""
    file = folder / "daft-k8s.toml"
    file.write_text(block.text)
    return load({"config_file": str(file), "allocation": "pod"}, {})


@pytest.mark.parametrize("block", all_blocks("toml"), ids=str)
def test_every_configuration_file_is_accepted(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "daft-k8s.toml"
    file.write_text(block.text)
    load({"config_file": str(file)}, {})


@pytest.mark.parametrize("block", all_blocks("toml"), ids=str)
def test_every_template_fits_a_workers_pod(block: Block, tmp_path: Path) -> None:
    worker_pod(pods_of(block, tmp_path), TARGET, session_id="s", worker_id="worker-0", launch_id=1)


def test_what_the_recipes_for_data_mount_is_seen_by_workers(tmp_path: Path) -> None:
    recipes = [pods_of(block, tmp_path) for block in blocks("docs/data.md") if block.language == "toml"]
    places = {place.folder: place for recipe in recipes for place in shared_places(recipe)}
    seen = {name: place.writable for name, place in places.items() if place.readable}
    assert seen == {"/data": True, "/mnt/datasets": False, "/opt/models": True}


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=str)
def test_every_manifest_can_be_read(block: Block) -> None:
    assert all(document for document in yaml.safe_load_all(block.text))


@pytest.mark.parametrize("block", all_blocks("dockerfile"), ids=str)
def test_an_image_ends_as_a_user_without_rights(block: Block) -> None:
    lines = block.text.replace("\\\n", " ").splitlines()
    assert {line.split()[0] for line in lines if line.strip()} <= INSTRUCTIONS
    [*_, user] = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert user.partition(":")[0] == "10001"


def test_the_rules_in_the_page_on_pods_are_those_that_the_driver_needs() -> None:
    shown = [yaml.safe_load(block.text) for block in blocks("docs/kubernetes.md") if block.language == "yaml"]
    role, outside, stateful = [rules["rules"] if isinstance(rules, dict) else rules for rules in shown]
    usual = role_rules(Configuration(allocation="pod"))
    assert role == usual
    assert [rule for rule in role_rules(outside=True) if rule not in usual] == outside
    assert [rule for rule in role_rules(Configuration(allocation="statefulset")) if rule not in usual] == stateful
