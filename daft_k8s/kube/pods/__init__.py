"""Pods: the meaning of what a cluster shows of Pods.

Here: the state of a Pod from its JSON, snapshots from lists and watches, launches of workers, and the processes behind
the names of a StatefulSet's Pods. Pure: times are arguments. Not here: calls to the API. Imported by
`inventory`, `launch`, `session`, `doctor` and `jobs`.
"""
