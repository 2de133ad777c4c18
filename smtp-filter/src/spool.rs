//! Where a mail's bytes wait for its end: in memory while small, in a private unlinked file when
//! large. It is no queue: nothing outlives the session.

use std::{io, path::PathBuf};

use kenin_sys::{TempBody, TempBodyError, free_space};
use tokio::task::spawn_blocking;

use crate::{MailBytes, Reply};

/// Where bytes are kept.
#[derive(Clone, Debug)]
pub(crate) struct Keeping {
    /// Folder for files.
    pub(crate) folder: PathBuf,
    /// Bytes up to which a mail stays in memory.
    pub(crate) memory: usize,
}

/// The bytes of the mail that is arriving. After an error they are gone, and the mail with them.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    file: Option<TempBody>,
    /// What follows the file's content.
    held: Vec<u8>,
}

impl Spool {
    /// Keeps `bytes`. A slow disk stops this mail only: files are written on threads that may
    /// block.
    pub(crate) async fn append(&mut self, bytes: &[u8], keeping: &Keeping) -> Result<(), Reply> {
        let room = match self.file {
            None => keeping.memory,
            Some(_) => keeping.memory.min(WRITE),
        };
        self.held.extend_from_slice(bytes);
        if self.held.len() > room {
            self.spill(keeping).await?;
        }
        Ok(())
    }

    /// The whole mail.
    pub(crate) async fn finish(mut self, keeping: &Keeping) -> Result<MailBytes, Reply> {
        if self.file.is_some() && !self.held.is_empty() {
            self.spill(keeping).await?;
        }
        match self.file {
            None => Ok(self.held.into()),
            Some(body) => body
                .map()
                .map(MailBytes::from)
                .map_err(|error| storage_reply(&error)),
        }
    }

    async fn spill(&mut self, keeping: &Keeping) -> Result<(), Reply> {
        let Self { file, held } = std::mem::take(self);
        let folder = keeping.folder.clone();
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
pub(crate) fn room_for(declared: Option<u64>, keeping: &Keeping) -> Result<(), Reply> {
    let size = declared.unwrap_or(0);
    let small = usize::try_from(size).is_ok_and(|size| size <= keeping.memory);
    if small {
        return Ok(());
    }
    match free_space(&keeping.folder) {
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

    #[tokio::test]
    async fn large_mail_moves_to_a_file() {
        for memory in [3, 10, 1 << 20] {
            let keeping = Keeping {
                folder: std::env::temp_dir(),
                memory,
            };
            let mail: Vec<u8> = (0..=255).cycle().take(memory + 2 * WRITE + 7).collect();
            for length in [0, 1, memory, memory + 1, memory + WRITE + 1, mail.len()] {
                let mail = &mail[..length];
                let mut spool = Spool::default();
                for chunk in mail.chunks(16 << 10) {
                    spool.append(chunk, &keeping).await.unwrap();
                    assert!(spool.held.len() <= memory);
                }
                let bytes = spool.finish(&keeping).await.unwrap();
                assert_eq!(bytes.is_mapped(), length > memory);
                assert_eq!(&*bytes, mail);
            }
        }
    }

    #[tokio::test]
    async fn storage_trouble_is_temporary() {
        let mut keeping = Keeping {
            folder: PathBuf::from("/nonexistent-folder"),
            memory: 10,
        };
        let failed = Spool::default()
            .append(&[0; 11], &keeping)
            .await
            .unwrap_err();
        assert_eq!(
            failed.to_string(),
            "451 4.3.0 Local storage error, try again later"
        );
        assert!(room_for(None, &keeping).is_ok());
        assert!(room_for(Some(10), &keeping).is_ok());
        assert_eq!(room_for(Some(11), &keeping).unwrap_err().code(), 451);
        keeping.folder = std::env::temp_dir();
        assert!(room_for(Some(11), &keeping).is_ok());
        let full = room_for(Some(u64::MAX), &keeping).unwrap_err();
        assert_eq!(full.to_string(), "452 4.3.1 Insufficient system storage");
    }
}
