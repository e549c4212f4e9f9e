"""The first queries of a session on three worker Pods, for a driver in the cluster or outside."""

from __future__ import annotations

from typing import Any

START = """
begin = time.monotonic()
session = use(num_workers=3)
say(session=session.session_id)
say(first=count_rows(), first_row_seconds=time.monotonic() - begin)
assert session.manager.wait_ready(3, 60) == 3
say(three_ready_seconds=time.monotonic() - begin)
"""
SCRIPT = f"""{START}
df = daft.range(100_000, partitions=6).with_column("key", col("id") % 7)
kept = df.where(col("id") % 10 == 0).collect()
say(kept=len(kept), kept_sum=sum(kept.to_pydict()["id"]))
groups = df.groupby("key").agg(col("id").sum().alias("sum"), col("id").count().alias("n")).sort("key")
say(groups=groups.to_pydict())
"""


def judge(facts: dict[str, Any]) -> None:
    """Every answer is right."""
    assert facts["first"] == 500
    assert (facts["kept"], facts["kept_sum"]) == (10_000, sum(range(0, 100_000, 10)))
    assert facts["groups"] == {
        "key": list(range(7)),
        "sum": [sum(range(key, 100_000, 7)) for key in range(7)],
        "n": [len(range(key, 100_000, 7)) for key in range(7)],
    }
