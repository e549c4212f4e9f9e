"""Client: calls to the Kubernetes API, their credentials, errors and retries.

Here: the one place that knows aiohttp and the client's package, and the policies for calls that are tried again. Not
here: sessions, workers, and what any object means. Imported by `inventory`,
`launch`, `reach`, `session`, `seam`, `doctor`, `jobs` and `cli`.
"""
