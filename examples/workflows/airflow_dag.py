"""Airflow: a driver as a Pod of its own, and a driver inside a task.

`totals` starts a Pod with Airflow's KubernetesPodOperator: wherever Airflow runs, Daft runs there.
`large_orders` runs in Airflow's own worker: with the KubernetesExecutor that is a Pod, whose image has Airflow and
daft_k8s, and is the image of Daft's workers. The service account of either needs the Role of kubectl.yaml.
"""

from __future__ import annotations

import datetime

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import dag, task
from kubernetes.client import models as k8s

IMAGE = "registry.example.com/daft-k8s:0.1.0"
AIRFLOW_IMAGE = (
    "registry.example.com/airflow-with-daft-k8s:3"  # FROM apache/airflow; RUN pip install 'daft_k8s[kubernetes]'
)
WORKERS = {
    "DAFT_RUNNER": "k8s",
    "DAFT_PROGRESS_BAR": "0",
    "DAFT_K8S_PRESET": "production",
    "DAFT_K8S_NUM_WORKERS": "3",
}
SCRIPT = """
import daft
from daft import col

orders = daft.range(1_000_000, partitions=8).with_column("customer", col("id") % 10)
orders.groupby("customer").agg(col("id").sum().alias("total")).sort("customer").show(10)
"""


@dag(schedule="@daily", start_date=datetime.datetime(2026, 1, 1), catchup=False, tags=["daft"])
def daft_on_kubernetes():
    totals = KubernetesPodOperator(
        task_id="totals",
        name="daft-totals",
        image=IMAGE,
        arguments=["python", "-c", SCRIPT],  # not `cmds`: the image's entry point passes signals on
        base_container_name="driver",  # workers take the image of the container of this name
        env_vars=WORKERS,
        service_account_name="daft-driver",
        security_context={
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        container_security_context={
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        container_resources=k8s.V1ResourceRequirements(
            requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "1Gi"}
        ),
        volumes=[k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource())],
        volume_mounts=[k8s.V1VolumeMount(name="tmp", mount_path="/tmp")],
        on_finish_action="delete_pod",  # and with it the workers, if any are left
        get_logs=True,
    )

    @task(
        executor_config={
            "pod_override": k8s.V1Pod(
                spec=k8s.V1PodSpec(
                    service_account_name="daft-driver", containers=[k8s.V1Container(name="base", image=AIRFLOW_IMAGE)]
                )
            )
        }
    )
    def large_orders() -> int:
        import daft
        from daft import col

        import daft_k8s

        with daft_k8s.set_runner_k8s(allocation="pod", preset="production", num_workers=3):
            return daft.range(1_000_000, partitions=8).where(col("id") > 900_000).count_rows()

    totals >> large_orders()


daft_on_kubernetes()
