"""Configuration: what can be set, from where it is read, and what is wrong with it.

Pure but for reading the TOML file and the machine's size; knows nothing of Daft, the network or
Kubernetes' API. Everybody may import it; it imports `daft_k8s.errors` alone.
"""

from __future__ import annotations

from daft_k8s.config.configuration import Configuration
from daft_k8s.config.fields import FIELDS, Field
from daft_k8s.config.presets import PRESETS, Preset
from daft_k8s.config.sources import load

__all__ = ["FIELDS", "PRESETS", "Configuration", "Field", "Preset", "load"]
