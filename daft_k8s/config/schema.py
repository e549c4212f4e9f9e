"""The accepted values of options as JSON Schema, for tools that check values before daft_k8s runs.

A schema is never stricter than `Kind.read`. It is less strict where JSON Schema cannot express a rule (a quantity's
bounds): the configuration itself decides.
"""

from __future__ import annotations

import re
from functools import singledispatch
from typing import Any

from daft_k8s.config.fields import Field
from daft_k8s.config.kinds import AbsolutePath, Choice, CodeFolder, Cpu, Folder, Kind, Memory, Number, Text
from daft_k8s.config.structures import ObjectList, PodTemplate, TextList, TextMap

_QUANTITY = r"[0-9]*\.?[0-9]+"
_LOOKAHEAD = re.compile(r"\(\?=[^)]*\)")
"""Not every regular expression engine that checks schemas knows it."""
_TYPES = {str: "string", int: "integer"}


def schema(field: Field) -> dict[str, Any]:
    """The JSON Schema of one option; null stands for "not given"."""
    accepted = dict(kind_schema(field.option.kind))
    accepted["type"] = [*_listed(accepted["type"]), "null"]
    if "enum" in accepted:
        accepted["enum"] = [*accepted["enum"], None]
    return accepted


@singledispatch
def kind_schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema of a kind's values; one that is not known here accepts any single value."""
    return {"type": ["string", "number", "boolean"]}


@kind_schema.register
def _(kind: Choice) -> dict[str, Any]:
    return {"type": "string", "enum": [*kind.choices]}


@kind_schema.register
def _(kind: Number) -> dict[str, Any]:
    noun = "integer" if kind.whole else "number"
    return {"type": noun, "minimum": _plain(kind.minimum), "maximum": _plain(kind.maximum)}


@kind_schema.register
def _(kind: Cpu) -> dict[str, Any]:
    return {"type": ["string", "number"], "pattern": f"^{_QUANTITY}m?$", "minimum": kind.minimum}


@kind_schema.register
def _(kind: Memory) -> dict[str, Any]:
    return {
        "type": ["string", "integer"],
        "pattern": f"^{_QUANTITY}([KMGTPE]i|[kMGTPE]|[eE][0-9]+)?$",
        "minimum": kind.minimum_bytes,
    }


@kind_schema.register
def _(kind: Text) -> dict[str, Any]:
    return {"type": "string", "pattern": _anchored(kind.pattern), "maxLength": kind.max_length}


@kind_schema.register
def _(kind: AbsolutePath) -> dict[str, Any]:
    return {"type": "string", "pattern": "^/"}


@kind_schema.register(CodeFolder)
@kind_schema.register(Folder)
def _(kind: Kind) -> dict[str, Any]:
    return {"type": "string", "minLength": 1}


@kind_schema.register
def _(kind: TextList) -> dict[str, Any]:
    return {"type": "array", "items": kind_schema(kind.item)}


@kind_schema.register
def _(kind: TextMap) -> dict[str, Any]:
    value: dict[str, Any] = {"type": "string"}
    if kind.value is not None:
        value = {"type": "string", "pattern": f"^({kind.value.pattern})?$", "maxLength": kind.value.max_length}
    keys = {"pattern": _anchored(kind.key.pattern), "maxLength": kind.key.max_length}
    if kind.refused_prefix:
        return {
            "type": "object",
            "propertyNames": {**keys, "not": {"pattern": f"^{re.escape(kind.refused_prefix)}"}},
            "additionalProperties": value,
        }
    return {"type": "object", "propertyNames": keys, "additionalProperties": value}


@kind_schema.register
def _(kind: ObjectList) -> dict[str, Any]:
    properties: dict[str, Any] = {
        key: {"type": "string", "enum": [*expected]} if isinstance(expected, tuple) else {"type": _TYPES[expected]}
        for key, expected in kind.keys.items()
    }
    return {"type": "array", "items": {"type": "object", "properties": properties, "additionalProperties": False}}


@kind_schema.register
def _(kind: PodTemplate) -> dict[str, Any]:
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"const": "Pod"},
        "metadata": {"type": "object"},
        "spec": {"type": "object"},
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _anchored(pattern: str) -> str:
    return f"^({_LOOKAHEAD.sub('', pattern)})$"


def _listed(types: str | list[str]) -> list[str]:
    return [types] if isinstance(types, str) else [*types]


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number
