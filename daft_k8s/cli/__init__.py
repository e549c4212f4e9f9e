"""The command `daft-k8s`: one module for each command, which `main` loads when it is called.

A user of the other rooms like any script: nothing imports it. What it learns of a cluster comes from `pods`.
"""
