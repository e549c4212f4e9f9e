"""The paths that stand in a plan, found in the text in which Daft prints it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from daft_k8s.handles.pod_paths import CHECKED_LOCATION

_CONTENT = re.compile(r"(?:\| )*(?:\* |\|   )(.*)")
_WRAPPED = "  "
_BREAK = "\0"
"""Stands where Daft has broken a long line. A space may have been lost there, or none."""
_BREAKS_TRIED = 6
"""Breaks of one path that are read both ways: 64 forms. The folders that they are compared with come first."""

_FILE = re.compile(r"\bFile[ \0]\{([^}]*)\}")
_FOLDER = re.compile(r"(?:Root[ \0]dir|Table[ \0]Location)[ \0]=[ \0](.*)|Sink:[ \0](?:DeltaLake|Lance)\((.*)\)")
_FUNCTION = re.compile(r"(?<![\w.])(url_upload|url_download|(?:video_|audio_|image_|hdf5_)?file)\0?\(")
_TEXT = re.compile(r'lit\(\0?"(.*)"\0?\)(?:[ \0]as[ \0].*)?', re.DOTALL)


class PlannedPath(NamedTuple):
    """A path that tasks of a plan will use."""

    forms: tuple[str, ...]
    """Its readings: more than one where a line was broken in it."""
    writing: bool
    unknown: bool = False
    """A column of the data says it, and nothing checks it."""


def find_paths(plan_text: str) -> Iterator[PlannedPath]:
    """All paths in a distributed plan.

    Of more than six files of one scan Daft prints the first and the last three. Inside of Python objects (sources,
    sinks, UDFs) nothing is found.

    Args:
        plan_text: The plan as Daft prints it in `repr_ascii`.
    """
    lines = _content(plan_text)
    yield from (_path(pattern, writing=False) for pattern in _patterns(lines))
    checked = CHECKED_LOCATION in plan_text
    for line in _unwrapped(lines):
        yield from (_path(found, writing=False) for found in _FILE.findall(line))
        folder = _FOLDER.fullmatch(line)
        if folder is not None:
            yield _path(folder[1] or folder[2], writing=True)
        yield from _in_functions(line, checked=checked)


def unbroken(plan_text: str) -> str:
    """The text of a plan without spaces and lines, since Daft may break a line within a word."""
    return "".join(plan_text.split()).replace("|", "")


def has_uploads(plan_text: str) -> bool:
    """True if a distributed plan, as Daft prints it, uploads."""
    # What follows takes 0.1 s where a plan names 10,000 columns.
    if "url_upload" not in unbroken(plan_text):
        return False
    calls = (call for line in _unwrapped(_content(plan_text)) for call in _FUNCTION.finditer(line))
    return any(call[1] == "url_upload" for call in calls)


def _content(plan_text: str) -> list[str]:
    return [found[1] for found in map(_CONTENT.fullmatch, plan_text.splitlines()) if found]


def _path(text: str, *, writing: bool) -> PlannedPath:
    first, *others = text.split(_BREAK)
    forms = [first]
    for number, part in enumerate(others):
        fillers = ("", " ") if number < _BREAKS_TRIED else ("",)
        forms = [form + filler + part for form in forms for filler in fillers]
    return PlannedPath(tuple(forms), writing)


def _patterns(lines: list[str]) -> Iterator[str]:
    """The patterns of sources that list files on the workers; each stands in a line of its own, indented."""
    pattern, inside = "", False
    for line in lines:
        if line.startswith("Glob paths: ["):
            inside = True
        elif inside and line.startswith(_WRAPPED) and line.strip() not in ("{", "}"):
            if not line.startswith(2 * _WRAPPED):
                pattern += _BREAK + line.removeprefix(_WRAPPED)
                continue
            if pattern:
                yield pattern
            pattern = line.removeprefix(2 * _WRAPPED)
        elif inside:
            inside = line.startswith(_WRAPPED)
            if pattern:
                yield pattern
            pattern = ""


def _unwrapped(lines: list[str]) -> list[str]:
    whole: list[list[str]] = []
    for line in lines:
        if line.startswith(_WRAPPED) and whole:
            whole[-1].append(line.removeprefix(_WRAPPED))
        else:
            whole.append([line])
    return [_BREAK.join(parts) for parts in whole]


def _in_functions(line: str, *, checked: bool) -> Iterator[PlannedPath]:
    for call in _FUNCTION.finditer(line):
        writing = call[1] == "url_upload"
        arguments = _arguments(line, call.end())
        place = arguments[int(writing)] if len(arguments) > int(writing) else ""
        constant = _TEXT.fullmatch(place)
        if constant is not None:
            yield _path(constant[1], writing=writing)
        elif writing and not checked:
            yield PlannedPath((place.replace(_BREAK, " "),), writing, unknown=True)


def _arguments(text: str, begin: int) -> list[str]:
    """The arguments of a call, from behind its opening bracket."""
    arguments, depth, quoted = [], 0, False
    for position in range(begin, len(text)):
        character = text[position]
        if character == '"' and text[position - 1 : position] != "\\":
            quoted = not quoted
        elif quoted:
            continue
        elif character in "([{":
            depth += 1
        elif character in ")]}" and depth:
            depth -= 1
        elif (character == "," and not depth) or character == ")":
            arguments.append(text[begin:position].strip(" " + _BREAK))
            begin = position + 1
            if character == ")":
                break
    return arguments
