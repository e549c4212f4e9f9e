//! A driver and its workers, joined over the loopback, with hosts that stand in for Python.
//!
//! Covered: how tasks end, cancels, losses, recovery, uploads, calls of workers, what a worker answers by itself
//! and to whom, panics, slow connections, and workers short of memory.
//! Not covered: the decisions of the pool (`daft_k8s_core`), the data plane (`daft_k8s_flight`), Python.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod actors;
mod addresses;
mod calls;
mod cancels;
mod clocks;
mod credentials;
mod encrypted;
mod fixture;
mod growth;
mod holds;
mod identity;
mod inline;
mod losses;
mod panics;
mod pressure;
mod proxy;
mod recovery;
mod requests;
mod slow_links;
mod spilled;
mod submissions;
mod tasks;
mod uploads;
mod worker_alone;
