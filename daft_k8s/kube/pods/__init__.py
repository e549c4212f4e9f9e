"""Pods: the meaning of what a cluster shows of Pods, and the decisions that follow.

Here: the state of a Pod from its JSON, snapshots from lists and watches, and the processes behind the names of a
StatefulSet's Pods. Also the lifecycle of launches: events in, effects out. Pure: times are arguments. Not here: calls
to the API. Imported by `inventory`, `launch`, `reach`, `session`, `doctor` and `jobs`.
"""
