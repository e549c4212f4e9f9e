"""Changes of inputs: of bytes, and of the values of a JSON document, where most bytes would only break its syntax."""

from __future__ import annotations

import json
from random import Random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 31, 1 << 63, 1 << 64, -(1 << 200), 0.5, float("nan"), float("inf"), 1e308, "", "x",
    "\0", "\ud800", "x" * 70_000, "9" * 5_000, [], [[]], {}, {"": None}, ["x"] * 300, "../x",
    "2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z",
)  # fmt: skip
_ODD_BYTES = (b"\0", b"\xff", b"\x80", b"\0" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", b"../", b'"', b"[", b"{")
_MOST_BYTES = 1 << 20


def change_bytes(data: bytes, random: Random) -> bytes:
    """The bytes with a few changes: flipped, replaced, cut, doubled, moved."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 8))):
        at = random.randrange(len(changed) + 1)
        end = min(len(changed), at + random.choice((1, 2, 4, 8, 64, 512)))
        kind = random.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = random.randrange(256)
        elif kind == 2:
            changed[at:at] = random.choice(_ODD_BYTES)
        elif kind == 3:
            odd = random.choice(_ODD_BYTES)
            changed[at : at + len(odd)] = odd
        elif kind == 4:
            del changed[at:end]
        else:
            changed[at:at] = changed[at:end] * random.choice((1, 1, 1, 100))
    return bytes(changed[:_MOST_BYTES])


def change_value(value: Any, random: Random) -> Any:
    """A value of JSON with one value in it replaced, removed, doubled, or wrapped deeply."""
    if isinstance(value, list) and value and random.random() < 0.8:
        changed = list(value)
        at = random.randrange(len(changed))
        kind = random.randrange(8)
        if kind == 0:
            del changed[at]
        elif kind == 1:
            changed[at:at] = [changed[at]] * random.choice((1, 1, 1, 500))
        else:
            changed[at] = change_value(changed[at], random)
        return changed
    if isinstance(value, dict) and value and random.random() < 0.8:
        changed_dict = dict(value)
        key = random.choice(sorted(changed_dict))
        kind = random.randrange(8)
        if kind == 0:
            del changed_dict[key]
        elif kind == 1:
            changed_dict[str(random.choice(ODD_VALUES))[:100]] = changed_dict.pop(key)
        else:
            changed_dict[key] = change_value(changed_dict[key], random)
        return changed_dict
    if random.random() < 0.05:
        for _ in range(random.choice((10, 100, 400))):
            value = [value] if random.random() < 0.5 else {"t": [value]}
        return value
    return random.choice(ODD_VALUES)


def change_json(data: bytes, random: Random) -> bytes:
    """A document of JSON with one of its values changed; its bytes, if it is none."""
    try:
        return json.dumps(change_value(json.loads(data), random)).encode()
    except (ValueError, RecursionError):
        return change_bytes(data, random)
