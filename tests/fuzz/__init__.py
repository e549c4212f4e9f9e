"""Decoders under bytes that no honest party sends: those of a taken-over worker, a forged Lease, a hostile archive.

`targets` names each decoder with its seeds, `mutation` changes them, `run` does so for a time (`make fuzz`).
`corpus` holds an input for each defect that was found. The Rust decoders have targets of their own:
rust_ext/ipc/tests/fuzz.rs.
"""
