"""Dividing tests between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .baseline import Outcome
from .results import id_of

USUAL_SECONDS = 0.1
"""What a test takes that nobody has measured."""

LARGEST_GROUP = 200
"""Tests of one file stay together up to this number: what its fixtures share is then made once."""


def divide(nodeids: Sequence[str], shares: int, measured: Mapping[str, Outcome]) -> list[list[str]]:
    """Makes at most `shares` lists that take about equally long, each in the given order."""
    groups: list[list[str]] = []
    for nodeid in nodeids:
        file = nodeid.partition("::")[0]
        if not groups or groups[-1][0].partition("::")[0] != file or len(groups[-1]) >= LARGEST_GROUP:
            groups.append([])
        groups[-1].append(nodeid)

    def seconds(group: list[str]) -> float:
        outcomes = (measured.get(id_of(nodeid)) for nodeid in group)
        return sum(USUAL_SECONDS if outcome is None else outcome.seconds for outcome in outcomes)

    order = {nodeid: position for position, nodeid in enumerate(nodeids)}
    loads = [0.0] * shares
    divided: list[list[str]] = [[] for _ in range(shares)]
    for group in sorted(groups, key=seconds, reverse=True):
        lightest = loads.index(min(loads))
        loads[lightest] += seconds(group)
        divided[lightest].extend(group)
    return [sorted(share, key=order.__getitem__) for share in divided if share]
