"""The choice of a vLLM engine for a batch of prompts: one that saw their prefix lately, if loads allow. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_PREFIXES_KEPT = 8
"""Of each engine, as Daft does: about as many as its cache is likely to hold still."""


class PrefixRouter:
    """Daft's rule on Ray, but for prefixes that no engine saw lately: they go to the one that got least.

    Args:
        engines: Their ids.
        load_balance_threshold: Prompts by which an engine may be ahead of another for the sake of a prefix.
    """

    def __init__(self, engines: Sequence[str], load_balance_threshold: int) -> None:
        self._threshold = load_balance_threshold
        self._loads = dict.fromkeys(engines, 0)
        self._recent: dict[str, list[str]] = {engine: [] for engine in engines}

    def choose(self, prefix: str | None, num_prompts: int, available: Collection[str]) -> str:
        """Picks one of those that are available, of which there is at least one, and counts the prompts as its own."""
        loads = {engine: load for engine, load in self._loads.items() if engine in available}
        least = min(loads, key=lambda engine: loads[engine])
        chosen = least
        if prefix is not None:
            limit = loads[least] + self._threshold
            seen = [engine for engine in loads if prefix in self._recent[engine] and loads[engine] < limit]
            chosen = min(seen, key=lambda engine: self._recent[engine].index(prefix), default=least)
            recent = self._recent[chosen]
            if prefix in recent:
                recent.remove(prefix)
            recent.insert(0, prefix)
            del recent[_PREFIXES_KEPT:]
        self._loads[chosen] += num_prompts
        return chosen
