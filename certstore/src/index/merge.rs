//! Sorted runs on disk, and their items in one order. Of equal items the one that came first comes first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use super::record::{ITEM, Item};

/// A sorted run in a file without a name.
pub(super) struct Run(File);

impl Run {
    /// Writes sorted items.
    pub(super) fn write(folder: &Path, items: &[Item]) -> io::Result<Self> {
        let path = super::build::part(folder);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        let mut out = BufWriter::with_capacity(BUFFER, file);
        for item in items {
            out.write_all(&item.to_bytes())?;
        }
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Self(file))
    }
}

/// All items of all runs in order.
pub(super) struct Merge {
    runs: Vec<BufReader<File>>,
    /// The next of each run; by run where they are equal.
    next: BinaryHeap<Reverse<Next>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    key: ([u64; 3], u64),
    run: usize,
    rest: [u8; 16],
}

impl Merge {
    pub(super) fn new(runs: Vec<Run>) -> io::Result<Self> {
        let runs = runs.into_iter();
        let mut merge = Self {
            runs: runs
                .map(|run| BufReader::with_capacity(BUFFER, run.0))
                .collect(),
            next: BinaryHeap::new(),
        };
        for run in 0..merge.runs.len() {
            merge.refill(run)?;
        }
        Ok(merge)
    }

    /// The next item; nothing at the end.
    pub(super) fn pop(&mut self) -> io::Result<Option<Item>> {
        let Some(Reverse(next)) = self.next.pop() else {
            return Ok(None);
        };
        self.refill(next.run)?;
        Ok(Some(Item {
            serial: next.key.0,
            rest: next.rest,
        }))
    }

    fn refill(&mut self, run: usize) -> io::Result<()> {
        let Some(reader) = self.runs.get_mut(run) else {
            return Ok(());
        };
        let mut bytes = [0; ITEM];
        match reader.read_exact(&mut bytes) {
            Ok(()) => {
                let item = Item::from_bytes(&bytes);
                self.next.push(Reverse(Next {
                    key: item.key(),
                    run,
                    rest: item.rest,
                }));
                Ok(())
            }
            // Runs are whole items.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error),
        }
    }
}

const BUFFER: usize = 128 << 10;
