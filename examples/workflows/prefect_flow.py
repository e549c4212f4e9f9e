"""Prefect: the flow's process is the driver.

Use a Kubernetes work pool, with an image that has daft_k8s and a service account with the Role of kubectl.yaml.
"""

import daft
from daft import col
from prefect import flow, get_run_logger

import daft_k8s


@flow
def totals() -> int:
    with daft_k8s.set_runner_k8s(
        allocation="pod", preset="production", num_workers=3
    ):  # the workers end with the block, whatever becomes of the Pod
        rows = daft.range(1_000_000, partitions=8).where(col("id") % 2 == 0).count_rows()
    get_run_logger().info("%s rows", rows)
    return rows


if __name__ == "__main__":
    totals()
