"""Launch: worker Pods, created, tracked and deleted as the pool asks.

Here: the launcher, the creation of Pods within quotas, bare Pods and those of a StatefulSet, and the tracking of both.
Not here: any decision about how many there are. Imported by `allocation`.
"""
