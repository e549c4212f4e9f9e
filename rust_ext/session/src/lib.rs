//! Both ends of a session, joined from the pure pool (`daft_k8s_core`), the control protocol
//! (`daft_k8s_control`) and the data plane (`daft_k8s_flight`).
//!
//! [`driver`] owns the pool and every connection to workers; [`worker`] takes tasks in, fetches their
//! inputs and hands them to the host, which runs them. Neither knows Python or Daft: plans, payloads,
//! statistics and errors are bytes here.

pub mod driver;
pub mod worker;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

/// Does the work; a panic in it becomes an error with the panic's message.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_text(&*panic))
}
