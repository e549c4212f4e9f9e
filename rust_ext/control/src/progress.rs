//! Notes that data of an answer arrives, so that a slow answer is told apart from silence.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};
use tower::Service;

/// Called whenever data of an answer arrives. Must not block.
pub type OnProgress = Arc<dyn Fn() + Send + Sync>;

/// Passes calls on and reports the progress of their answers.
#[derive(Clone)]
pub struct Observed<S> {
    service: S,
    on_progress: Option<OnProgress>,
}

impl<S> Observed<S> {
    pub(crate) fn new(service: S, on_progress: Option<OnProgress>) -> Self {
        Self { service, on_progress }
    }
}

impl<S> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answer, on_progress) = (self.service.call(request), self.on_progress.clone());
        Box::pin(async move {
            let answer = answer.await?;
            Ok(match on_progress {
                // An error, of the worker or of a proxy before it, carries no data of an answer.
                Some(on_progress) if answer.status() == StatusCode::OK => {
                    answer.map(|body| Body::new(ObservedBody { body, on_progress }))
                }
                _ => answer,
            })
        })
    }
}

struct ObservedBody {
    body: Body,
    on_progress: OnProgress,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            (self.on_progress)();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
