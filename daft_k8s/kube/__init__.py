"""Kube: workers on a Kubernetes cluster, from the manifest to the news of their end.

Here: the objects of a session, the state of its Pods, the routes to them, and the package's only calls of the
Kubernetes API. Each room imports only from those below it: inventory, launch > reach, session > pods > objects >
client. Not here: Daft, connections to workers, and any decision about the number of workers. Imported by `allocation`,
`seam`, `doctor`, `jobs` and `cli`.
"""
