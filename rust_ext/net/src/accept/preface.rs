//! The first bytes of an HTTP/2 connection, read before anything is set up for it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{Standing, frames::ControlFrames, newcomers::TurnedAway};
use crate::tls::{Role, Transport};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection may send so many before a call on it has shown the session's token. A member that has hundreds of calls
/// to make when it connects sends a few frames for each, and its first call is heard at once.
const MAX_CONTROL_FRAMES: usize = 4096;

/// Reads the preface and returns a stream that begins with it; fails with the first wrong byte.
pub(super) async fn read(mut stream: Transport, standing: Standing) -> io::Result<Greeted> {
    let mut bytes = [0; PREFACE.len()];
    let mut length = 0;
    while length < PREFACE.len() {
        let count = stream.read(&mut bytes[length..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += count;
        if bytes[..length] != PREFACE[..length] {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(Greeted { unread: PREFACE, stream, standing, frames: ControlFrames::default() })
}

/// A connection whose preface has been read; gives it out once more. Fails if it is flooded by another than a member.
pub(super) struct Greeted {
    unread: &'static [u8],
    stream: Transport,
    standing: Standing,
    frames: ControlFrames,
}

impl Greeted {
    /// The role of the peer, where the server asks for it.
    pub(super) fn peer_role(&self) -> Option<Role> {
        self.stream.peer_role()
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            let before = buffer.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(context, buffer);
            if !self.standing.is_member() && self.frames.add(&buffer.filled()[before..]) > MAX_CONTROL_FRAMES {
                self.standing.turn_away(TurnedAway::Flood);
                return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
            }
            return read;
        }
        let (now, later) = self.unread.split_at(self.unread.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.unread = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
