"""The kinds of the options, and how a dataclass field says which option it is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from daft_k8s.config.frozen import FrozenMap
from daft_k8s.config.kinds import AbsolutePath, Choice, CodeFolder, Cpu, Flag, Folder, Kind, Memory, Number, Text
from daft_k8s.config.sizing import MIN_WORKER_BYTES
from daft_k8s.config.structures import ObjectList, PodTemplate, TextList, TextMap

CHOSEN: Any = None
"""The default of a field whose value is chosen when the object is made: readers never see None."""

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_QUALIFIED = Text(
    rf"({_SUBDOMAIN}/)?(?=.{{1,63}}$){_NAME}",
    "a name of letters, digits, -, _ and . (at most 63), perhaps after a domain and a slash",
    max_length=317,
)
_OBJECT_NAME = Text(_SUBDOMAIN, "the name of a Kubernetes object (lower-case letters, digits, - and .)")

SECONDS = Number(1, 7 * 86400, whole=False, unit="seconds")
SHORT_SECONDS = Number(0, 86400, whole=False, unit="seconds")
WORKERS = Number(1, 10_000, whole=True)
WORKERS_OR_NONE = Number(0, 10_000, whole=True)
ATTEMPTS = Number(1, 100, whole=True)
RESTARTS = Number(0, 1000, whole=True)
QUEUE = Number(0, 64, whole=True)
PORT = Number(0, 65535, whole=True)
PARTITIONS = Number(1, 100_000, whole=True)
CPU = Cpu(0.1)
WORKER_MEMORY = Memory(MIN_WORKER_BYTES)
GPU = Number(0, 1024, whole=False)
SHARE = Number(0.05, 0.9, whole=False)
MESSAGE_BYTES = Memory(2**20, 2**30)
SPILL_BYTES = Memory(2**20)
RECOVERY_BYTES = Memory(0)
FLAG = Flag()
PATH = AbsolutePath()
NAMESPACE = Text(_LABEL, "a Kubernetes namespace (lower-case letters, digits and -, at most 63)", max_length=63)
KUBE_CONTEXT = Text(r"\S(.*\S)?", "the name of a context of the kubeconfig", max_length=1024)
OBJECT_NAME = _OBJECT_NAME
OBJECT_NAMES = TextList(_OBJECT_NAME)
IMAGE = Text(r"[A-Za-z0-9](\S*[A-Za-z0-9])?", "an image reference without spaces", max_length=1024)
RESOURCE_NAME = Text(
    rf"{_SUBDOMAIN}/{_NAME}", 'an extended resource such as "nvidia.com/gpu" or "nvidia.com/mig-1g.5gb"', max_length=317
)
LABEL_VALUE = Text(_NAME, "text of letters, digits, -, _ and . (at most 63), or empty", max_length=63)
NODE_SELECTOR = TextMap(_QUALIFIED, LABEL_VALUE)
LABELS = TextMap(_QUALIFIED, LABEL_VALUE, refused_prefix="daft.io/")
ANNOTATIONS = TextMap(_QUALIFIED, None, refused_prefix="daft.io/")
ENVIRONMENT = TextMap(
    Text(r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and _, not starting with a digit", max_length=1024),
    None,
    refused_prefix="DAFT_K8S_",
)
VARIABLE_PATTERNS = TextList(
    Text(r"[A-Za-z_][A-Za-z0-9_]*\*?", "the name of a variable, or the beginning of names and a *", max_length=1024)
)
TOLERATIONS = ObjectList(
    FrozenMap(
        {
            "key": str,
            "operator": ("Equal", "Exists"),
            "value": str,
            "effect": ("NoSchedule", "PreferNoSchedule", "NoExecute"),
            "tolerationSeconds": int,
        }
    ),
    "a list (as text: JSON) of tolerations as in a Pod's manifest, with the keys key, operator (Equal, Exists), "
    "value, effect (NoSchedule, PreferNoSchedule, NoExecute) and tolerationSeconds",
)
POD_TEMPLATE = PodTemplate()
CODE_BYTES = Memory(2**10, 2**31)
CODE_FOLDER = CodeFolder(
    ("auto", "none"), ("local://", "s3://", "gs://", "gcs://", "az://", "abfss://", "http://", "https://")
)
LOG_FOLDER = Folder(("s3://", "gs://", "gcs://", "abfs://", "abfss://", "hdfs://"))
SHARED_PATHS = TextList(Text(r"/[^\0]*", "an absolute path", max_length=4096))
REQUIREMENTS = TextList(
    Text(r"[^-\s][^\r\n\0]*", 'one requirement of pip, such as "emoji" or "emoji==2.14.0"', max_length=1024)
)


def choice(*words: str) -> Kind:
    """A kind that accepts one of some words."""
    return Choice(words)


@dataclass(frozen=True)
class Option:
    """A field of `Configuration` as users see it."""

    kind: Kind
    topic: str
    name: str
    """The option's name where it differs from the field's; empty otherwise."""
    pods_only: bool
    """Without effect on local workers."""
    secret: bool
    """The value may hold credentials: never shown."""
    chosen: bool
    """None lets the configuration choose, so the field itself is never None."""


def option(
    kind: Kind,
    default: Any,
    *,
    topic: str,
    name: str = "",
    pods_only: bool = False,
    secret: bool = False,
) -> Any:
    """A dataclass field that is an option; typed as `dataclasses.field` is, by the annotated field."""
    described = Option(kind, topic, name, pods_only, secret, chosen=False)
    return dataclasses.field(default=default, repr=not secret, metadata={"option": described})


def chosen_option(kind: Kind, *, topic: str, name: str = "") -> Any:
    """A dataclass field that is an option whose value is chosen if it is not given."""
    described = Option(kind, topic, name, pods_only=False, secret=False, chosen=True)
    return dataclasses.field(default=CHOSEN, metadata={"option": described})
