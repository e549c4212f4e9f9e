"""Kube: workers on a Kubernetes cluster, from the manifest to the news of their end.

Here: the objects of a session, the state of its Pods, the ways to them, and the only code of the package that talks
to the Kubernetes API. Each room imports only from those below it: inventory, launch > reach, session > pods > objects
> client. Not here: Daft, connections to workers, and any decision about how many there are. Imported by `allocation`,
`seam`, `doctor`, `jobs` and `cli`.
"""
