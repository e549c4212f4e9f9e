"""Configuration: the options, the sources that they are read from, and the errors that name every mistake.

Pure but for reading the TOML file and the machine's size. Not here: Daft, the network, and Kubernetes' API. Every room
may import this one. It imports `daft_k8s.errors` alone.
"""

from __future__ import annotations

from daft_k8s.config.configuration import Configuration
from daft_k8s.config.fields import FIELDS, Field
from daft_k8s.config.presets import PRESETS, Preset
from daft_k8s.config.sources import load

__all__ = ["FIELDS", "PRESETS", "Configuration", "Field", "Preset", "load"]
