"""Writes Kubernetes' objects as YAML, of which JSON's scalars are a part; a library for it is not always there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def to_yaml(value: object) -> str:
    """A JSON value as YAML in block style; short lists of scalars stay on one line."""
    return "\n".join(_lines(value))


def _lines(value: object) -> list[str]:
    if isinstance(value, Mapping) and value:
        lines = []
        for key, item in value.items():
            lines += _entry(f"{_scalar(key)}:", item)
        return lines
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        lines = []
        for item in value:
            first, *rest = _lines(item)
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
        return lines
    return [_scalar(value)]


def _entry(key: str, item: object) -> list[str]:
    if _is_flow(item):
        return [f"{key} {_flow(item)}"]
    indent = "  " if isinstance(item, Mapping) else ""
    return [key, *(f"{indent}{line}" for line in _lines(item))]


def _is_flow(item: object) -> bool:
    if isinstance(item, (Mapping, list, tuple)) and item:
        return not isinstance(item, Mapping) and all(not isinstance(part, (Mapping, list, tuple)) for part in item)
    return True


def _flow(item: object) -> str:
    if isinstance(item, (list, tuple)) and item:
        return "[" + ", ".join(_scalar(part) for part in item) + "]"
    return _scalar(item)


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)
