#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! The data plane as its users see it: real servers and clients on the loopback.

mod damage;
mod encrypted;
mod endurance;
mod fixture;
mod refusals;
mod round_trips;
mod samples;
mod throughput;
