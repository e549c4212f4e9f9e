"""Folders of a worker's Pod that are no disk of the Pod's own, from `pod_template` and `shared_paths`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from daft_k8s.config.frozen import thaw
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.manifest import SECRET_DIR, SPILL_DIR, TMP_DIR
from daft_k8s.path_rules import PodFolder

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

_OWN_DISK = frozenset({"emptyDir", "ephemeral"})
"""Made with the Pod and gone with it."""
_NEVER_WRITTEN = frozenset({"configMap", "secret", "downwardAPI", "projected", "image"})
"""Kubernetes fills them, the same for each Pod; what is written there is lost or refused."""


def shared_places(configuration: Configuration) -> tuple[PodFolder, ...]:
    """All folders of a worker's Pod whose kind is known; in any other one is the image's, or the Pod's own disk."""
    places = {
        configuration.spill_dir or SPILL_DIR: PodFolder(configuration.spill_dir or SPILL_DIR, False, False),
        TMP_DIR: PodFolder(TMP_DIR, False, False),
        SECRET_DIR: PodFolder(SECRET_DIR, False, False),
    }
    template = thaw(configuration.pod_template) if configuration.pod_template is not None else {}
    spec = _map(_map(template).get("spec"))
    volumes = {volume.get("name"): volume for volume in _maps(spec.get("volumes"))}
    for container in _maps(spec.get("containers")):
        if container.get("name") == names.CONTAINER:
            for mount in _maps(container.get("volumeMounts")):
                folder = mount.get("mountPath")
                if isinstance(folder, str) and folder.startswith("/"):
                    places[folder] = _place(folder, mount, _map(volumes.get(mount.get("name"))))
    for folder in configuration.shared_paths:
        places[folder] = PodFolder(folder, True, True)
    return tuple(places.values())


def _place(folder: str, mount: Mapping[str, Any], volume: Mapping[str, Any]) -> PodFolder:
    kinds = volume.keys() - {"name"}
    readable = bool(kinds) and not kinds & _OWN_DISK  # without a kind: a volume of the runner's own
    read_only = bool(mount.get("readOnly")) or any(_map(volume[kind]).get("readOnly") for kind in kinds)
    return PodFolder(folder, readable, readable and not read_only and not kinds & _NEVER_WRITTEN)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
