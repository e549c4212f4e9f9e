"""Which folders of a worker's Pod are no disk of its own."""

from __future__ import annotations

from typing import Any

import pytest

from daft_k8s.config import load
from daft_k8s.kube.objects.shared_mounts import shared_places
from daft_k8s.path_rules import PodFolder, find_pod_folder


def places(
    *, mounts: list[dict[str, Any]] | None = None, volumes: list[dict[str, Any]] | None = None, **options: Any
) -> tuple[PodFolder, ...]:
    template = {"spec": {"volumes": volumes or [], "containers": [{"name": "worker", "volumeMounts": mounts or []}]}}
    return shared_places(load({"allocation": "pod", "image": "image", "pod_template": template, **options}))


def seen(path: str, found: tuple[PodFolder, ...]) -> str:
    place = find_pod_folder(path, found)
    return "" if place is None else "r" * place.readable + "w" * place.writable


@pytest.mark.parametrize(
    ("volume", "rights"),
    [
        ({"persistentVolumeClaim": {"claimName": "x"}}, "rw"),
        ({"persistentVolumeClaim": {"claimName": "x", "readOnly": True}}, "r"),
        ({"hostPath": {"path": "/data"}}, "rw"),
        ({"nfs": {"server": "x", "path": "/"}}, "rw"),
        ({"csi": {"driver": "gcsfuse.csi.storage.gke.io"}}, "rw"),
        ({"configMap": {"name": "x"}}, "r"),
        ({"secret": {"secretName": "x"}}, "r"),
        ({"projected": {"sources": []}}, "r"),
        ({"image": {"reference": "x"}}, "r"),
        ({"emptyDir": {}}, ""),
        ({"ephemeral": {"volumeClaimTemplate": {}}}, ""),
        ({}, ""),
    ],
)
def test_the_kind_of_a_volume_says_who_sees_it(volume: dict[str, Any], rights: str) -> None:
    found = places(volumes=[{"name": "v", **volume}], mounts=[{"name": "v", "mountPath": "/mnt"}])
    assert seen("/mnt/x", found) == rights
    assert seen("/elsewhere", found) == ""


def test_a_mount_that_is_read_only_is_not_written_to() -> None:
    volumes = [{"name": "v", "nfs": {"server": "x", "path": "/"}}]
    assert seen("/mnt/x", places(volumes=volumes, mounts=[{"name": "v", "mountPath": "/mnt", "readOnly": True}])) == "r"


def test_the_runners_own_folders_are_the_pods_own_unless_the_template_mounts_something_there() -> None:
    found = places(shared_paths=["/"])
    assert [seen(path, found) for path in ("/opt/models", "/tmp/x", "/var/lib/daft-spill/x")] == ["rw", "", ""]
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]
    assert seen("/tmp/x", places(volumes=volumes, mounts=[{"name": "v", "mountPath": "/tmp"}])) == "rw"
    assert seen("/spill/x", places(spill_dir="/spill", shared_paths=["/"])) == ""


def test_a_mount_of_another_container_or_of_an_unknown_volume_is_none() -> None:
    template = {
        "spec": {
            "volumes": [{"name": "v", "nfs": {"server": "x", "path": "/"}}],
            "containers": [
                {"name": "sidecar", "volumeMounts": [{"name": "v", "mountPath": "/side"}]},
                {"name": "worker", "volumeMounts": [{"name": "spill", "mountPath": "/also-spill"}]},
            ],
        }
    }
    found = shared_places(load({"allocation": "pod", "image": "image", "pod_template": template}))
    assert seen("/side/x", found) == seen("/also-spill/x", found) == ""
    assert seen("/x", shared_places(load({"allocation": "pod", "image": "image"}))) == ""


def test_what_the_user_names_as_shared_is_shared() -> None:
    found = places(shared_paths="/opt/models,/data")
    assert seen("/opt/models/a", found) == seen("/data", found) == "rw"
    assert seen("/opt", found) == ""
