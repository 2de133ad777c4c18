//! From the pieces of a list to its index file, with bounded memory.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kenin_pki::crl::{Crl, CrlStream};

use super::file::{self, Plan};
use super::merge::{Merge, Run};
use super::record::{Item, Shape};
use super::{INDEX, IndexError, NEW, PART, hex};
use crate::StoreError;

/// A list that is being received.
pub struct IndexBuilder {
    folder: PathBuf,
    /// Whether others must be told that the list is there before anybody uses it.
    received: bool,
    stream: CrlStream,
    sorter: Sorter,
}

/// Items that become runs.
struct Sorter {
    folder: PathBuf,
    run: Vec<Item>,
    runs: Vec<Run>,
    shape: Shape,
    /// The first and the last of all serials.
    bounds: Option<([u64; 3], [u64; 3])>,
    count: u64,
}

impl IndexBuilder {
    pub(super) fn new(folder: &Path, received: bool) -> Result<Self, StoreError> {
        Ok(Self {
            folder: folder.to_owned(),
            received,
            stream: CrlStream::new(),
            sorter: Sorter {
                folder: folder.to_owned(),
                run: Vec::new(),
                runs: Vec::new(),
                shape: Shape {
                    serial: 0,
                    issuer: false,
                    invalidity: false,
                },
                bounds: None,
                count: 0,
            },
        })
    }

    /// Takes the next bytes of the list, in DER.
    ///
    /// # Errors
    /// When they are no list, or what came before cannot be kept.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        let sorter = &mut self.sorter;
        let mut take = |entry: kenin_pki::crl::StreamedEntry<'_>| {
            let item = Item::new(entry.serial, entry.issuer, entry.entry);
            let item = item.ok_or_else(|| {
                IndexError::List("a serial number is longer than 24 octets".to_owned())
            })?;
            sorter.shape.serial = sorter.shape.serial.max(entry.serial.len());
            sorter.shape.issuer |= entry.issuer != 0;
            sorter.shape.invalidity |= entry.entry.invalidity_date.is_some();
            sorter.push(item)
        };
        self.stream.push(bytes, &mut take)?;
        Ok(())
    }

    /// Everything has come: the list, from its index.
    ///
    /// # Errors
    /// When the list is not whole, or the index cannot be written.
    pub fn finish(self) -> Result<Crl, IndexError> {
        let list = |error: kenin_pki::crl::CrlError| IndexError::List(error.to_string());
        let parts = self.stream.finish().map_err(list)?;
        let path = self.folder.join(format!("{}.{INDEX}", hex(&parts.sha256)));
        let failed = |error| StoreError::read(&path, error);
        if self.received {
            let mark = self.folder.join(format!("{}.{NEW}", hex(&parts.sha256)));
            fs::write(&mark, b"").map_err(|error| StoreError::read(&mark, error))?;
        }
        let part = part(&self.folder);
        let written = self.sorter.write(&part, &parts).and_then(|()| {
            fs::rename(&part, &path)?;
            // The name has to be there after a power cut as well.
            File::open(&self.folder)?.sync_all()
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&part);
            return Err(failed(error).into());
        }
        let (parts, entries) = file::open(&path)?;
        Crl::indexed(&parts, Arc::new(entries)).map_err(list)
    }
}

impl Sorter {
    fn push(&mut self, item: Item) -> Result<(), IndexError> {
        self.count += 1;
        if self.count > MAX_ENTRIES {
            let text = format!("it has more than {MAX_ENTRIES} entries");
            return Err(IndexError::List(text));
        }
        self.bounds = Some(match self.bounds {
            None => (item.serial, item.serial),
            Some((first, last)) => (first.min(item.serial), last.max(item.serial)),
        });
        if self.run.capacity() == 0 {
            self.run.reserve_exact(RUN);
        }
        self.run.push(item);
        if self.run.len() == RUN {
            let failed = |error| StoreError::read(&self.folder, error);
            self.run.sort_by_key(Item::key);
            let run = Run::write(&self.folder, &self.run).map_err(failed)?;
            self.runs.push(run);
            self.run.clear();
        }
        Ok(())
    }

    fn write(mut self, path: &Path, parts: &kenin_pki::crl::AbridgedCrl) -> io::Result<()> {
        self.run.sort_by_key(Item::key);
        if !self.runs.is_empty() {
            self.runs.push(Run::write(&self.folder, &self.run)?);
            self.run = Vec::new();
        }
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut plan = Plan::new(self.shape, self.bounds, self.count, parts);
        let mut out = BufWriter::with_capacity(BUFFER, file);
        out.write_all(&plan.room())?;
        let mut record = Vec::with_capacity(self.shape.width());
        let mut put = |item: &Item, out: &mut BufWriter<File>| -> io::Result<()> {
            record.clear();
            self.shape.push(item, &mut record);
            plan.note(item, &record);
            out.write_all(&record)
        };
        if self.runs.is_empty() {
            for item in &self.run {
                put(item, &mut out)?;
            }
        } else {
            let mut merge = Merge::new(self.runs)?;
            while let Some(item) = merge.pop()? {
                put(&item, &mut out)?;
            }
        }
        out.write_all(&plan.samples())?;
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        // Now that everything is there, the head says so.
        file.rewind()?;
        file.write_all(&plan.head())?;
        file.sync_all()
    }
}

/// A name that nobody has.
pub(super) fn part(folder: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{}-{number}.{PART}", std::process::id()))
}

/// Items that are sorted in memory: 16 MB. Few in tests, so that small lists have several runs.
const RUN: usize = if cfg!(test) { 50 } else { 400_000 };
/// All JPKI partitions together are 25 million.
const MAX_ENTRIES: u64 = 100_000_000;
const BUFFER: usize = 256 << 10;
