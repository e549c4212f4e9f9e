//! Serving the control protocol and the standard gRPC health service on one port.

use std::{future::Future, time::Duration};

use daft_k8s_data::accept::{AcceptOptions, serve_connections};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tonic::service::{InterceptorLayer, Routes};
use tonic_health::server::HealthReporter;
use tower::Layer;

use crate::{
    auth::Check,
    proto::worker_server::{Worker, WorkerServer},
};

/// Long polls and calls of many queries share one connection of the driver.
const MAX_CONCURRENT_STREAMS: u32 = 1024;
/// Calls carry no partitions, so their windows can be small.
const WINDOW_BYTES: u32 = 16 << 20;
/// The longest poll ends by itself within this.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What the health service answers. Kubernetes probes carry no token, so this is the one open call.
#[derive(Clone)]
pub struct HealthSwitch {
    reporter: HealthReporter,
}

impl HealthSwitch {
    /// SERVING or NOT_SERVING, for the server as a whole (the empty name) and for the worker service.
    pub async fn set_serving(&self, serving: bool) {
        let status =
            if serving { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
        for name in ["", "daft_k8s.v1.Worker"] {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

/// Serves `worker` until `shutdown` resolves. Health starts as NOT_SERVING.
///
/// A request larger than `max_message_bytes` is refused (OUT_OF_RANGE); the connection lives on.
pub async fn serve<W: Worker, F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    worker: W,
    token: &str,
    max_message_bytes: usize,
    shutdown: F,
) -> (HealthSwitch, impl Future<Output = ()> + Send + use<W, F>) {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = HealthSwitch { reporter };
    health.set_serving(false).await;
    let worker_service = InterceptorLayer::new(Check::new(token))
        .layer(WorkerServer::new(worker).max_decoding_message_size(max_message_bytes));
    let routes = Routes::new(health_service).add_service(worker_service).prepare();
    let options = AcceptOptions {
        max_concurrent_streams: MAX_CONCURRENT_STREAMS,
        window_bytes: WINDOW_BYTES,
        drain_timeout: DRAIN_TIMEOUT,
        ..AcceptOptions::default()
    };
    (health, serve_connections(listener, TowerToHyperService::new(routes), options, shutdown))
}
