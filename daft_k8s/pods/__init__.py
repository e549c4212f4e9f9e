"""Pods: workers on a Kubernetes cluster, from the manifest to the news of their end.

Here: what a worker's Pod looks like, what its JSON means, what may be concluded from watching and listing, and
the only code of the package that talks to the Kubernetes API. Not here: Daft, connections to workers, and any
decision about how many there are. Only `daft_k8s.allocation` imports this room; `manifest`, `template`, `state`,
`snapshots`, `launches` and `silence` are pure.
"""
