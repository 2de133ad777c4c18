//! A TCP connection that may come under TLS half way. It never goes back.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

/// The stream of a session.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Client(Box<client::TlsStream<TcpStream>>),
    Server(Box<server::TlsStream<TcpStream>>),
    /// For tests: it takes a known number of octets.
    #[cfg(test)]
    Piped(tokio::io::DuplexStream),
    /// Lent to a handshake, or lost in one.
    Gone,
}

impl Wire {
    /// Takes the plain stream out for a handshake.
    pub(crate) fn take_plain(&mut self) -> Option<TcpStream> {
        match std::mem::replace(self, Self::Gone) {
            Self::Plain(stream) => Some(stream),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// Waits for bytes and hands them on, `ROOM` at most; gives how many there were, none at the end. The room
/// for them is there only while they are: thousands of sessions wait, and a waiting one holds none.
pub(crate) async fn receive<const ROOM: usize, R: AsyncRead + Unpin>(
    stream: &mut R,
    mut take: impl FnMut(&[u8]),
) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
        let bytes = read.filled();
        if !bytes.is_empty() {
            take(bytes);
        }
        Poll::Ready(Ok(bytes.len()))
    })
    .await
}

/// Makes an enum of streams a stream: reads and writes are those of the one that is there, and without
/// one there is no connection.
macro_rules! stream_by_variant {
    ($name:ident { $($(#[$when:meta])? $variant:ident),+ } $(without $gone:ident)?) => {
        impl tokio::io::AsyncRead for $name {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() {
                    $(
                        $(#[$when])?
                        Self::$variant(stream) => std::pin::Pin::new(stream).poll_read(cx, buf),
                    )+
                    $(Self::$gone => $crate::wire::not_connected(),)?
                }
            }
        }

        impl tokio::io::AsyncWrite for $name {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                match self.get_mut() {
                    $(
                        $(#[$when])?
                        Self::$variant(stream) => std::pin::Pin::new(stream).poll_write(cx, buf),
                    )+
                    $(Self::$gone => $crate::wire::not_connected(),)?
                }
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() {
                    $(
                        $(#[$when])?
                        Self::$variant(stream) => std::pin::Pin::new(stream).poll_flush(cx),
                    )+
                    $(Self::$gone => $crate::wire::not_connected(),)?
                }
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() {
                    $(
                        $(#[$when])?
                        Self::$variant(stream) => std::pin::Pin::new(stream).poll_shutdown(cx),
                    )+
                    $(Self::$gone => $crate::wire::not_connected(),)?
                }
            }
        }
    };
}
pub(crate) use stream_by_variant;

stream_by_variant!(Wire { Plain, Client, Server, #[cfg(test)] Piped } without Gone);

fn not_connected<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_are_handed_on_in_their_order_until_the_end() {
        let mut wire: &[u8] = b"abcdefg";
        let (mut heard, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let read = receive::<3, _>(&mut wire, |bytes| heard.extend_from_slice(bytes)).await;
            sizes.push(read.unwrap());
            if sizes.last() == Some(&0) {
                break;
            }
        }
        assert_eq!(
            (heard.as_slice(), &sizes[..]),
            (&b"abcdefg"[..], &[3, 3, 1, 0][..])
        );
    }
}
