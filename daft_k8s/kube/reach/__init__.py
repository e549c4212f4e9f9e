"""Reach: the ways from the driver to the ports of Pods.

Here: routes, port-forwards for a driver outside the cluster, and the wait for a name in the cluster's DNS. Not here:
what becomes of a worker that cannot be reached. Imported by `launch`.
"""
