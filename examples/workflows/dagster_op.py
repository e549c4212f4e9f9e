"""Dagster: the op's process is the driver.

Run jobs in Pods (dagster-k8s: k8s_job_executor or K8sRunLauncher), with an image that has daft_k8s and a service
account with the Role of kubectl.yaml.
"""

import daft
from daft import col
from dagster import Definitions, OpExecutionContext, job, op

import daft_k8s


@op
def totals(context: OpExecutionContext) -> int:
    with daft_k8s.set_runner_k8s(
        allocation="pod", preset="production", num_workers=3
    ):  # the workers end with the block, whatever becomes of the Pod
        rows = daft.range(1_000_000, partitions=8).where(col("id") % 2 == 0).count_rows()
    context.log.info("%s rows", rows)
    return rows


@job
def daft_totals():
    totals()


definitions = Definitions(jobs=[daft_totals])
