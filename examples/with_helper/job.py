"""A script with a module and a package of its own: `prices.in_euro`, which uses `rules`, runs on the workers.

DAFT_RUNNER=k8s python examples/with_helper/job.py
daft-k8s run -n jobs --image IMAGE examples/with_helper/job.py
"""

from __future__ import annotations

import daft
import prices
from daft import col


@daft.func(return_dtype=daft.DataType.float64())
def in_euro(amount: float, currency: str) -> float:
    return prices.in_euro(amount, currency)


def main() -> None:
    orders = daft.from_pydict({"currency": ["EUR", "USD", "GBP"] * 1000, "amount": [10.0, 20.0, 30.0] * 1000})
    euro = orders.into_partitions(4).with_column("euro", in_euro(col("amount"), col("currency")))
    euro.groupby("currency").agg(col("euro").sum()).sort("currency").show()


if __name__ == "__main__":
    main()
