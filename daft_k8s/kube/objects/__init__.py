"""Objects: the JSON of what a session makes in a cluster, and what it needs there.

Here: manifests, names and labels, Pod templates, quotas, rights, and the meaning of the API's refusals. Pure: no event
loop, network, thread or clock. Not here: calls to the API, and the state of Pods. Imported by `inventory`,
`launch`, `reach`, `session`, `pods`, `seam`, `doctor`, `jobs` and `cli`.
"""
