//! Where a mail's bytes wait for its end: in memory while small, in a private unlinked file when
//! large. It is no queue: nothing outlives the session.

use std::io;

use kenin_sys::{TempBody, TempBodyError, free_space};
use tokio::task::spawn_blocking;

use super::ServerConfig;
use crate::{MailBytes, Reply, client::Sender};

/// The bytes of the mail that is arriving. After an error they are gone, and the mail with them.
#[derive(Debug, Default)]
pub(super) struct Spool {
    file: Option<TempBody>,
    /// What follows the file's content.
    held: Vec<u8>,
}

impl Spool {
    /// Keeps `bytes`. A slow disk stops this mail only: files are written on threads that may
    /// block.
    pub(super) async fn append(
        &mut self,
        bytes: &[u8],
        config: &ServerConfig,
    ) -> Result<(), Reply> {
        let room = match self.file {
            None => config.limits.memory,
            Some(_) => config.limits.memory.min(WRITE),
        };
        self.held.extend_from_slice(bytes);
        if self.held.len() > room {
            self.spill(config).await?;
        }
        Ok(())
    }

    /// The whole mail.
    pub(super) async fn finish(mut self, config: &ServerConfig) -> Result<MailBytes, Reply> {
        if self.file.is_some() && !self.held.is_empty() {
            self.spill(config).await?;
        }
        match self.file {
            None => Ok(self.held.into()),
            Some(body) => body
                .map()
                .map(MailBytes::from)
                .map_err(|error| storage_reply(&error)),
        }
    }

    async fn spill(&mut self, config: &ServerConfig) -> Result<(), Reply> {
        let Self { file, held } = std::mem::take(self);
        let folder = config.temp_dir.clone();
        let writing = spawn_blocking(move || {
            let mut body = match file {
                Some(body) => body,
                None => TempBody::create_in(&folder)?,
            };
            body.append(&held)?;
            Ok(body)
        });
        let written = writing
            .await
            .unwrap_or_else(|error| Err(TempBodyError::Storage(io::Error::other(error))));
        self.file = Some(written.map_err(|error| storage_reply(&error))?);
        Ok(())
    }
}

/// Refuses at MAIL what would not fit on the disk, when its size is declared.
pub(super) fn room_for(sender: &Sender, config: &ServerConfig) -> Result<(), Reply> {
    let size = sender.size.unwrap_or(0);
    let small = usize::try_from(size).is_ok_and(|size| size <= config.limits.memory);
    if small {
        return Ok(());
    }
    match free_space(&config.temp_dir) {
        Ok(free) if free / 2 >= size => Ok(()),
        Ok(_) => Err(storage_reply(&TempBodyError::Full)),
        Err(error) => Err(storage_reply(&error.into())),
    }
}

fn storage_reply(error: &TempBodyError) -> Reply {
    tracing::error!(%error, "a mail cannot be kept");
    match error {
        TempBodyError::Full => Reply::new(452, "4.3.1", "Insufficient system storage"),
        TempBodyError::Storage(_) => {
            Reply::new(451, "4.3.0", "Local storage error, try again later")
        }
    }
}

/// Bytes that are written at a time.
const WRITE: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[tokio::test]
    async fn large_mail_moves_to_a_file() {
        for memory in [3, 10, 1 << 20] {
            let mut config = ServerConfig::new("h", "127.0.0.1:1");
            config.limits.memory = memory;
            let mail: Vec<u8> = (0..=255).cycle().take(memory + 2 * WRITE + 7).collect();
            for length in [0, 1, memory, memory + 1, memory + WRITE + 1, mail.len()] {
                let mail = &mail[..length];
                let mut spool = Spool::default();
                for chunk in mail.chunks(16 << 10) {
                    spool.append(chunk, &config).await.unwrap();
                    assert!(spool.held.len() <= memory);
                }
                let bytes = spool.finish(&config).await.unwrap();
                assert_eq!(bytes.is_mapped(), length > memory);
                assert_eq!(&*bytes, mail);
            }
        }
    }

    #[tokio::test]
    async fn storage_trouble_is_temporary() {
        let mut config = ServerConfig::new("h", "127.0.0.1:1");
        config.temp_dir = PathBuf::from("/nonexistent-folder");
        config.limits.memory = 10;
        let failed = Spool::default()
            .append(&[0; 11], &config)
            .await
            .unwrap_err();
        assert_eq!(
            failed.to_string(),
            "451 4.3.0 Local storage error, try again later"
        );
        let sender = |size| Sender {
            size: Some(size),
            ..Sender::new("a@b")
        };
        assert!(room_for(&sender(10), &config).is_ok());
        assert_eq!(room_for(&sender(11), &config).unwrap_err().code(), 451);
        config.temp_dir = std::env::temp_dir();
        assert!(room_for(&sender(11), &config).is_ok());
        let full = room_for(&sender(u64::MAX), &config).unwrap_err();
        assert_eq!(full.to_string(), "452 4.3.1 Insufficient system storage");
    }
}
