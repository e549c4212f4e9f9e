"""The kinds of options: the values that they accept, and their conversion from text, TOML and Python.

A kind's `read` takes a person's value (from the environment: always text). It also takes its own results, so that it
can check a `Configuration` that was made by hand.
"""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daft_k8s.config.passwords import without_passwords
from daft_k8s.config.quantities import format_cpu, format_memory, parse_cpu, parse_memory


class Kind(ABC):
    """The accepted values of an option."""

    @property
    @abstractmethod
    def accepts(self) -> str:
        """The accepted values in words, to complete the sentence "Accepted: ..."."""

    @abstractmethod
    def read(self, value: object, base: Path) -> object:
        """The option's value, immutable.

        Args:
            value: The given value.
            base: The folder at which relative paths start.

        Raises:
            ValueError: The value is not accepted; the message says why.
        """


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few words; case does not count."""

    choices: tuple[str, ...]

    @property
    def accepts(self) -> str:
        return ", ".join(self.choices)

    def read(self, value: object, base: Path) -> str:
        if isinstance(value, str):
            for choice in self.choices:
                if value.strip().lower() == choice.lower():
                    return choice
        raise ValueError("not one of the accepted values")


@dataclass(frozen=True)
class Flag(Kind):
    """Yes or no."""

    @property
    def accepts(self) -> str:
        return "true, false"

    def read(self, value: object, base: Path) -> bool:
        if isinstance(value, bool):
            return value
        word = value.strip().lower() if isinstance(value, str) else ""
        if word in ("true", "1", "yes", "on"):
            return True
        if word in ("false", "0", "no", "off"):
            return False
        raise ValueError("not one of the accepted values")


@dataclass(frozen=True)
class Number(Kind):
    """A whole or decimal number between two bounds."""

    minimum: float
    maximum: float
    whole: bool
    unit: str = ""

    @property
    def accepts(self) -> str:
        noun = "a whole number" if self.whole else "a number"
        unit = f" of {self.unit}" if self.unit else ""
        return f"{noun}{unit} from {self.minimum:g} to {_plain(self.maximum)}"

    def read(self, value: object, base: Path) -> float:
        number = self._number(value)
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError("not a finite number")
        if self.whole and number != int(number):
            raise ValueError("not a whole number")
        if number < self.minimum:
            raise ValueError("too small")
        if number > self.maximum:
            raise ValueError("too large")
        return int(number) if self.whole else float(number)

    def _number(self, value: object) -> float:
        if isinstance(value, str):
            try:
                return int(value) if self.whole else float(value)
            except ValueError:
                raise ValueError("not a number" if not self.whole else "not a whole number") from None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"not a number but {type_name(value)}")
        return value


@dataclass(frozen=True)
class Cpu(Kind):
    """CPU cores as a Kubernetes quantity."""

    minimum: float

    @property
    def accepts(self) -> str:
        return (
            f'cores as a number or a Kubernetes quantity such as 2, 1.5 or "500m", at least {format_cpu(self.minimum)}'
        )

    def read(self, value: object, base: Path) -> float:
        cores = parse_cpu(value)
        if cores < self.minimum:
            raise ValueError("too small")
        return cores


@dataclass(frozen=True)
class Memory(Kind):
    """Bytes as a Kubernetes quantity."""

    minimum_bytes: int
    maximum_bytes: int | None = None

    @property
    def accepts(self) -> str:
        bounds = f"at least {format_memory(self.minimum_bytes)}"
        if self.maximum_bytes is not None:
            bounds = f"from {format_memory(self.minimum_bytes)} to {format_memory(self.maximum_bytes)}"
        return f'a Kubernetes quantity such as "512Mi", "4Gi" or "1.5G", or a number of bytes, {bounds}'

    def read(self, value: object, base: Path) -> int:
        size = parse_memory(value)
        if size < self.minimum_bytes:
            small = str(value).strip()
            unit = f'; a plain number is bytes, perhaps "{small}Gi" was meant' if size < 2**16 and size > 0 else ""
            raise ValueError(f"too small{unit}")
        if self.maximum_bytes is not None and size > self.maximum_bytes:
            raise ValueError("too large")
        return size


@dataclass(frozen=True)
class Text(Kind):
    """A word that matches a pattern."""

    pattern: str
    words: str
    max_length: int = 253

    @property
    def accepts(self) -> str:
        return self.words

    def read(self, value: object, base: Path) -> str:
        if not isinstance(value, str):
            raise ValueError(f"not text but {type_name(value)}")
        text = value.strip()
        if not text:
            raise ValueError("empty")
        if len(text) > self.max_length:
            raise ValueError(f"longer than {self.max_length} characters")
        if not re.fullmatch(self.pattern, text):
            raise ValueError("not of the accepted form")
        return text


@dataclass(frozen=True)
class AbsolutePath(Kind):
    """A folder, absolute so that it means the same in every process."""

    @property
    def accepts(self) -> str:
        return "an absolute path"

    def read(self, value: object, base: Path) -> str:
        if isinstance(value, Path):
            value = str(value)
        if not isinstance(value, str):
            raise ValueError(f"not a path but {type_name(value)}")
        if not value.startswith("/") and not Path(value).is_absolute():
            raise ValueError("not absolute")
        if "\0" in value:
            raise ValueError("holds a null byte")
        return value


@dataclass(frozen=True)
class CodeFolder(Kind):
    """The place of the code of tasks: a word, a URI, or a path, which is made absolute."""

    words: tuple[str, ...]
    schemes: tuple[str, ...]

    @property
    def accepts(self) -> str:
        return f"{', '.join(self.words)}, the path of a folder or an archive, or a URI ({', '.join(self.schemes)})"

    def read(self, value: object, base: Path) -> str:
        text = _text_of_place(value)
        if text in self.words:
            return text
        if "://" in text:
            if not text.startswith(self.schemes):
                raise ValueError("not of a scheme that can be read")
            if text.startswith("local://") and not text.startswith("local:///"):
                raise ValueError("local:// needs the absolute path of a folder in the image")
            return text
        return _absolute(text, base)


@dataclass(frozen=True)
class Folder(Kind):
    """A folder: a path, which is made absolute, or a URI without credentials."""

    schemes: tuple[str, ...]

    @property
    def accepts(self) -> str:
        return f"the path of a folder, or a URI ({', '.join(self.schemes)})"

    def read(self, value: object, base: Path) -> str:
        text = _text_of_place(value)
        if "://" not in text:
            return _absolute(text, base)
        if not text.startswith(self.schemes):
            raise ValueError("not of a scheme that can be written")
        if without_passwords(text) != text:
            raise ValueError("holds credentials, which would be shown and logged: set them in the environment")
        return text


def _text_of_place(value: object) -> str:
    """The text of a path or a URI."""
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"not text but {type_name(value)}")
    text = value.strip()
    if not text or "\0" in text:
        raise ValueError("empty" if not text else "holds a null byte")
    return text


def _absolute(path: str, base: Path) -> str:
    return os.path.abspath(os.path.join(base, os.path.expanduser(path)))


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


_TYPE_DESCRIPTIONS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "NoneType": "nothing",
}


def describe_type(expected: type) -> str:
    return _TYPE_DESCRIPTIONS.get(expected.__name__, expected.__name__)


def type_name(value: object) -> str:
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, (list, tuple)):
        return "a list"
    return describe_type(type(value))
