"""Kinds of options that hold more than one value: lists, maps, and a Pod's template."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from daft_k8s.config.frozen import FrozenMap, freeze
from daft_k8s.config.kinds import Kind, Text, describe_type, type_name

_MAX_DEPTH = 64


@dataclass(frozen=True)
class TextList(Kind):
    """A list of words, also written `a,b`."""

    item: Text

    @property
    def accepts(self) -> str:
        return f'a list, or text such as "a,b" or a JSON list, each item {self.item.accepts}'

    def read(self, value: object, base: Path) -> tuple[str, ...]:
        if isinstance(value, str):
            is_json = value.lstrip().startswith("[")
            value = _json(value) if is_json else [word for word in value.split(",") if word.strip()]
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"not a list but {type_name(value)}")
        return tuple(_inner(f"item {item!r}", self.item.read, item, base) for item in value)


@dataclass(frozen=True)
class TextMap(Kind):
    """A map from names to text, also written `k=v,k=v`."""

    key: Text
    value: Text | None
    """None: any text."""
    refused_prefix: str = ""
    """Keys that start so belong to the runner."""

    @property
    def accepts(self) -> str:
        refused = f", except those that start with {self.refused_prefix}" if self.refused_prefix else ""
        values = self.value.accepts if self.value else "any text"
        return f'a map, or text such as "k=v,k=v" or a JSON object; keys: {self.key.accepts}{refused}; values: {values}'

    def read(self, value: object, base: Path) -> FrozenMap[str]:
        items = self._items(value)
        result = {}
        for key, text in items.items():
            name = _inner(f"key {key!r}", self.key.read, key, base)
            if self.refused_prefix and name.startswith(self.refused_prefix):
                raise ValueError(f"key {name!r}: names that start with {self.refused_prefix} belong to the runner")
            result[name] = self._read_value(name, text, base)
        return FrozenMap(result)

    def _items(self, value: object) -> Mapping[str, object]:
        if isinstance(value, str) and value.lstrip().startswith("{"):
            value = _json(value)
        elif isinstance(value, str):
            pairs: dict[str, object] = {}
            for number, pair in enumerate(filter(str.strip, value.split(",")), start=1):
                key, equals, text = pair.partition("=")
                if not equals:
                    raise ValueError(f'pair {number} has no "="; a value that holds a comma needs the JSON form')
                if key.strip() in pairs:
                    raise ValueError(f"key {key.strip()!r} is given twice")
                pairs[key.strip()] = text.strip()
            value = pairs
        if not isinstance(value, Mapping):
            raise ValueError(f"not a map but {type_name(value)}")
        return value

    def _read_value(self, name: str, text: object, base: Path) -> str:
        if not isinstance(text, str):
            raise ValueError(f"the value of {name!r} is not text but {type_name(text)}; put it in quotes")
        if self.value is None or not text:
            return text
        return _inner(f"the value of {name!r}", self.value.read, text, base)


@dataclass(frozen=True)
class ObjectList(Kind):
    """A list of flat Kubernetes objects with known keys."""

    keys: Mapping[str, tuple[str, ...] | type]
    """Each key with the words, or the type, that its value must be."""
    words: str

    @property
    def accepts(self) -> str:
        return self.words

    def read(self, value: object, base: Path) -> tuple[FrozenMap[object], ...]:
        if isinstance(value, str):
            value = _json(value)
        if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
            raise ValueError(f"not a list but {type_name(value)}")
        return tuple(self._read_item(number, item) for number, item in enumerate(value, start=1))

    def _read_item(self, number: int, item: object) -> FrozenMap[object]:
        if not isinstance(item, Mapping):
            raise ValueError(f"item {number} is not a map but {type_name(item)}")
        for key, value in item.items():
            expected = self.keys.get(key)
            if expected is None:
                raise ValueError(f"item {number} has the unknown key {key!r}; known are {', '.join(self.keys)}")
            if isinstance(expected, tuple) and value not in expected:
                raise ValueError(f"item {number}: {key} is {value!r}, not one of {', '.join(expected)}")
            if isinstance(expected, type) and (not isinstance(value, expected) or isinstance(value, bool)):
                raise ValueError(f"item {number}: {key} is not {describe_type(expected)} but {type_name(value)}")
        return FrozenMap(item)


@dataclass(frozen=True)
class PodTemplate(Kind):
    """A Pod, or the metadata and spec of one: a map, JSON text, or a file."""

    @property
    def accepts(self) -> str:
        return (
            "a map with metadata and spec as in a Pod's manifest, the same as JSON text, "
            "or the path of a .json, .yaml or .yml file"
        )

    def read(self, value: object, base: Path) -> FrozenMap[object]:
        if isinstance(value, Path):
            value = _file(base / value)
        elif isinstance(value, str):
            value = _json(value) if value.lstrip().startswith("{") else _file(base / value.strip())
        if not isinstance(value, Mapping):
            raise ValueError(f"not a map but {type_name(value)}")
        if value.get("kind", "Pod") != "Pod":
            raise ValueError(f"its kind is {value['kind']!r}, not Pod")
        unknown = [str(key) for key in value if key not in ("apiVersion", "kind", "metadata", "spec")]
        if unknown:
            raise ValueError(f"unknown keys {', '.join(unknown)}; a Pod has apiVersion, kind, metadata and spec")
        for key in ("metadata", "spec"):
            if not isinstance(value.get(key, {}), Mapping):
                raise ValueError(f"{key} is not a map but {type_name(value[key])}")
        _check_json(value)
        return cast("FrozenMap[object]", freeze(value))


def _inner(where: str, read: Callable[[object, Path], str], value: object, base: Path) -> str:
    try:
        return read(value, base)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _json(text: str) -> object:
    try:
        return cast(object, json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        # Not the error's text: some Pythons quote the document in it, which may hold a secret.
        at = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"malformed JSON{at}") from None


def _file(path: Path) -> object:
    if path.suffix not in (".json", ".yaml", ".yml"):
        raise ValueError("neither JSON text nor a .json, .yaml or .yml file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"{path} cannot be read: {reason}") from None
    if path.suffix == ".json":
        return _json(text)
    return _yaml(text)


def _yaml(text: str) -> object:
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        raise ValueError("reading YAML needs the package PyYAML; install it, or give JSON") from None
    try:
        return cast(object, yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise ValueError(f"malformed YAML{at}") from None


def _check_json(value: object, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} is not text")
            _check_json(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_json(item, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot stand in a Pod's manifest")
    elif not (value is None or isinstance(value, (str, int, float, bool))):
        raise ValueError(f"{type_name(value)} cannot stand in a Pod's manifest; put it in quotes")
