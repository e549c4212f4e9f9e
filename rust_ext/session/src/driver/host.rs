//! The outside of a session: processes, and answers to workers' calls.

use bytes::Bytes;
use daft_k8s_core::{LaunchId, WorkerId};

/// Answers one call of a worker.
pub type CallAnswer = Box<dyn FnOnce(Result<Bytes, String>) + Send>;

/// A call of a worker to its driver.
pub struct Call {
    /// The caller.
    pub worker: WorkerId,
    /// The target, e.g. `limit/3`.
    pub target: String,
    /// The arguments.
    pub payload: Bytes,
    /// Takes the answer.
    pub answer: CallAnswer,
}

/// Takes the reason why a process could not even be launched.
pub type LaunchFailed = Box<dyn FnOnce(String) + Send>;

/// The outside of a session. No method may block, or call back into the driver.
pub trait DriverHost: Send + Sync + 'static {
    /// Start a process for a worker; answered by `worker_started` or `worker_exited` of [`Driver`], or,
    /// later and not from within this call, by `failed`.
    fn launch(&self, worker: WorkerId, launch: LaunchId, failed: LaunchFailed);
    /// Stop that process.
    fn stop(&self, worker: WorkerId, launch: LaunchId, reason: &str);
    /// End that process at once, whatever it does: it would not stop by itself.
    fn kill(&self, worker: WorkerId, launch: LaunchId, reason: &str);
    /// A worker calls.
    fn worker_call(&self, call: Call);
    /// A process of this worker takes tasks, and actors, from now on.
    fn worker_ready(&self, worker: WorkerId);
    /// The process that was ready is lost, and with it all that it held.
    fn worker_lost(&self, worker: WorkerId, reason: &str);
}
