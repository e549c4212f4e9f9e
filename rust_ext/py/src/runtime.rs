//! The one tokio runtime of the process, and waiting for it from Python threads.

use std::{
    future::Future,
    sync::OnceLock,
    time::{Duration, Instant},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use tokio::runtime::{Builder, Handle, Runtime};

/// The longest time for which a wait does not notice a signal (Ctrl-C).
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

struct Owned {
    runtime: Runtime,
    process_id: u32,
}

static RUNTIME: OnceLock<Owned> = OnceLock::new();

/// The runtime's handle; fails in a forked child, where its threads do not exist.
pub(crate) fn handle() -> PyResult<&'static Handle> {
    if RUNTIME.get().is_none() {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("daft-k8s-io")
            .enable_all()
            .build()
            .map_err(|error| PyRuntimeError::new_err(format!("cannot start the I/O threads: {error}")))?;
        // Lost only to another thread that did the same; both are equally good.
        let _ = RUNTIME.set(Owned { runtime, process_id: std::process::id() });
    }
    match RUNTIME.get() {
        Some(owned) if owned.process_id == std::process::id() => Ok(owned.runtime.handle()),
        _ => Err(PyRuntimeError::new_err(
            "this process was forked from one that uses daft_k8s; use the 'spawn' start method instead of 'fork'",
        )),
    }
}

/// Waits without the GIL until `future` is done, letting signal handlers run in between.
///
/// `Ok(None)` after `timeout`; an exception that a signal handler raises ends the wait.
pub(crate) fn wait<T: Send + 'static>(
    py: Python<'_>,
    future: impl Future<Output = T> + Send + 'static,
    timeout: Option<Duration>,
) -> PyResult<Option<T>> {
    let runtime = handle()?;
    let mut task = runtime.spawn(future);
    // A time-out beyond the end of time is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let slice = match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()).min(SIGNAL_INTERVAL),
            None => SIGNAL_INTERVAL,
        };
        // Released: what is waited for is done by other threads, some of which need the GIL for it.
        let waited = py.detach(|| runtime.block_on(async { tokio::time::timeout(slice, &mut task).await }));
        match waited {
            Ok(Ok(value)) => return Ok(Some(value)),
            Ok(Err(failed)) => return Err(PyRuntimeError::new_err(format!("an I/O task failed: {failed}"))),
            Err(_) => {}
        }
        if let Err(error) = py.check_signals() {
            task.abort();
            return Err(error);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            task.abort();
            return Ok(None);
        }
    }
}
