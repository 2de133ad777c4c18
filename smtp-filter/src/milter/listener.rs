//! Where MTAs connect to: a TCP port or a UNIX socket. Never removes a socket that somebody listens on.

use std::{
    fs::Permissions,
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::session::NOBODY;
use crate::wire::stream_by_variant;

/// A socket that MTAs connect to.
#[derive(Debug)]
pub struct Listener(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Its file goes when this does.
        _file: Unlink,
    },
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self(Socket::Tcp(listener))
    }
}

impl Listener {
    /// Makes a UNIX socket with these permissions. A socket file that was left behind by a process
    /// that died is replaced; one that answers is not.
    ///
    /// # Errors
    ///
    /// When something else is there, or the socket cannot be made.
    pub fn unix(path: &Path, mode: u32) -> io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "something that is no socket is there",
                ));
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            Ok(_) => std::fs::remove_file(path)?,
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok(Self(Socket::Unix {
            listener,
            _file: Unlink(path.to_owned()),
        }))
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match &self.0 {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), peer))
            }
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), NOBODY))
            }
        }
    }
}

/// Removes a socket's file when dropped.
#[derive(Debug)]
struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A connection of an MTA.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Acknowledges at once what comes next. An MTA writes a packet and waits for its last one to be
    /// acknowledged before it writes the next (Nagle), and the kernel goes back to waiting 40 ms by
    /// itself: this has to be said again and again.
    pub(super) fn acknowledge_at_once(&self) {
        if let Self::Tcp(stream) = self {
            let _ = stream.set_quickack(true);
        }
    }
}

stream_by_variant!(Stream { Tcp, Unix });
