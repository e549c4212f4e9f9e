//! Serving the control protocol with the standard gRPC health service, and that service on a port of its own.

use std::{future::Future, time::Duration};

use daft_k8s_net::{AcceptOptions, Admission, Auth, serve_connections};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tonic::service::{InterceptorLayer, Routes};
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tower::Layer;

use crate::{
    auth::Check,
    members::OrdersFromDriver,
    proto::worker_server::{Worker, WorkerServer},
};

/// Long polls and calls of many queries share one connection of the driver.
const MAX_CONCURRENT_STREAMS: u32 = 1024;
/// Calls carry no partitions, so their windows can be small.
const WINDOW_BYTES: u32 = 16 << 20;
/// For probes, each of which opens one and closes it after its call. No file is taken from the worker's own connections.
const MAX_HEALTH_CONNECTIONS: usize = 64;
/// A probe makes one call.
const MAX_HEALTH_STREAMS: u32 = 4;
/// The name of a service is all that a call for health carries.
const MAX_HEALTH_MESSAGE_BYTES: usize = 1 << 10;
/// The least that HTTP/2 allows.
const HEALTH_FRAME_BYTES: u32 = 16 << 10;
/// The longest poll ends by itself within this.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The callers that a control server accepts, and its limits.
pub struct ServerOptions {
    /// The check of all calls; with TLS, the server takes orders from the session's driver alone.
    pub auth: Auth,
    /// The connections that the process may have.
    pub admission: Admission,
    /// A larger request is refused (OUT_OF_RANGE); the connection lives on.
    pub max_message_bytes: usize,
}

/// The answer of the health service.
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

    fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
            .max_decoding_message_size(MAX_HEALTH_MESSAGE_BYTES)
    }
}

/// Serves `worker` and its health until `shutdown` resolves. Health starts as NOT_SERVING.
pub async fn serve<W: Worker, F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    worker: W,
    options: ServerOptions,
    shutdown: F,
) -> (HealthSwitch, impl Future<Output = ()> + Send + use<W, F>) {
    let health = HealthSwitch { reporter: HealthReporter::new() };
    health.set_serving(false).await;
    let check = InterceptorLayer::new(Check::new(options.auth.clone()));
    let worker_service = WorkerServer::new(worker).max_decoding_message_size(options.max_message_bytes);
    let routes = Routes::new(check.layer(health.service())).add_service(check.layer(worker_service)).prepare();
    let options = AcceptOptions {
        auth: Some(options.auth),
        max_concurrent_streams: MAX_CONCURRENT_STREAMS,
        window_bytes: WINDOW_BYTES,
        drain_timeout: DRAIN_TIMEOUT,
        ..AcceptOptions::new(options.admission)
    };
    let service = TowerToHyperService::new(OrdersFromDriver::new(routes));
    (health, serve_connections(listener, service, options, shutdown))
}

/// Serves health alone, to anybody and without TLS: Kubernetes' probes have neither certificate nor token. As no call
/// shows a token, no connection lasts.
pub async fn serve_health(listener: TcpListener, health: HealthSwitch, shutdown: impl Future<Output = ()>) {
    let options = AcceptOptions {
        max_concurrent_streams: MAX_HEALTH_STREAMS,
        window_bytes: HEALTH_FRAME_BYTES,
        max_frame_bytes: HEALTH_FRAME_BYTES,
        drain_timeout: DRAIN_TIMEOUT,
        ..AcceptOptions::new(Admission::new(MAX_HEALTH_CONNECTIONS))
    };
    let routes = Routes::new(health.service()).prepare();
    serve_connections(listener, TowerToHyperService::new(routes), options, shutdown).await;
}
