//! Connections, encrypted or not.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

use super::{ClientTls, Role, ServerTls, TlsProblem};

/// The library reads 4 KiB at a time; from here, not from the kernel.
const READ_BUFFER_BYTES: usize = 128 << 10;
/// Bytes that are gathered and encrypted together before they are written.
const WRITE_BUFFER_BYTES: usize = 256 << 10;
/// The time for a refused peer to read the refusal.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A connection between two members of a session.
pub enum Transport {
    /// As TCP carries it.
    Plain(TcpStream),
    /// With both certificates checked.
    Tls(Box<TlsStream<BufReader<TcpStream>>>),
}

/// Connects to a worker at `host:port`. There is no time-out.
pub async fn connect(address: &str, tls: Option<&ClientTls>) -> io::Result<Transport> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Transport::Plain(stream)) };
    let stream = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
    let connected = tls.connector.connect(tls.worker.clone(), stream).await;
    Ok(Transport::over(connected.map_err(|error| TlsProblem::of(&error))?))
}

/// Takes a connection; with TLS, only from members of the session. There is no time-out.
pub async fn accept(stream: TcpStream, tls: Option<&ServerTls>) -> Result<Transport, TlsProblem> {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return Ok(Transport::Plain(stream)) };
    let stream = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
    match tls.acceptor.accept(stream).into_fallible().await {
        Ok(stream) => Ok(Transport::over(stream)),
        Err((error, stream)) => {
            let problem = TlsProblem::of(&error);
            if problem.is_final() {
                // It believes itself connected and may have sent something. Closed now, that would reset the
                // connection, and the reason would not reach it.
                let _ = tokio::time::timeout(LAST_WORDS, hear_out(stream.into_inner())).await;
            }
            Err(problem)
        }
    }
}

async fn hear_out(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut ignored = [0; 4096];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

impl Transport {
    /// The role that the peer's certificate states; `None` without TLS.
    pub fn peer_role(&self) -> Option<Role> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Role::of(stream.get_ref().1.peer_certificates()?.first()?),
        }
    }

    fn over(stream: impl Into<TlsStream<BufReader<TcpStream>>>) -> Self {
        let mut stream = stream.into();
        match &mut stream {
            TlsStream::Client(stream) => stream.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER_BYTES)),
            TlsStream::Server(stream) => stream.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER_BYTES)),
        }
        Self::Tls(Box::new(stream))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            // A refusal of our certificate arrives when the handshake is over for us.
            Self::Tls(stream) => {
                Pin::new(stream).poll_read(context, buffer).map_err(|error| match TlsProblem::of(&error) {
                    problem @ TlsProblem::RefusedUs(_) => problem.into(),
                    _ => error,
                })
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
