"""The line by which a local worker tells the process that started it that it serves."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Ready:
    """The addresses of a worker that serves."""

    control_address: str
    data_address: str

    def encode(self) -> bytes:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Ready:
        """The inverse of `encode`.

        Raises:
            ValueError: The text is no ready line.
        """
        try:
            content = json.loads(line)
            return cls(str(content["control_address"]), str(content["data_address"]))
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError("it lacks an address") from error
