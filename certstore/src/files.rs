//! Certificates and revocation lists in PEM or DER files and folders of them, and a fingerprint
//! of those files that tells when to read them again.
//!
//! Every file is read whole, up to a limit; one that cannot be used is an error that names it,
//! never a silent gap in what is trusted.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::ocsp::OcspResponse;
use kenin_pki::pem;

use crate::{RevocationIndex, StoreError};

/// The files and folders that one snapshot is made of.
#[derive(Debug, Clone, Default)]
pub struct FileSet {
    certificates: Vec<PathBuf>,
    crls: Vec<PathBuf>,
    /// With the state that each was in when it was named.
    also: Vec<(PathBuf, States)>,
}

/// What the files held.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Intermediates and other known certificates.
    pub certificates: Vec<Certificate>,
    /// Revocation lists.
    pub crls: Vec<Crl>,
}

/// The state of a set of files (size, time of change, inode): unequal means read again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint(States);

type States = Vec<(PathBuf, Option<[i64; 5]>)>;

/// The state of one file; by default, of one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileState(Option<[i64; 5]>);

impl FileState {
    /// As it is now.
    pub fn of(path: &Path) -> Self {
        Self(state(path))
    }
}

impl FileSet {
    /// The folders or files of certificates and of revocation lists.
    pub fn new(certificates: Vec<PathBuf>, crls: Vec<PathBuf>) -> Self {
        Self {
            certificates,
            crls,
            also: Vec::new(),
        }
    }

    /// Files or folders to load besides.
    pub fn add(&mut self, certificates: Vec<PathBuf>, crls: Vec<PathBuf>) {
        self.certificates.extend(certificates);
        self.crls.extend(crls);
    }

    /// A file or folder that is only watched: its reader is somebody else, who reads it after this.
    pub fn watch(&mut self, path: impl Into<PathBuf>) {
        let path = path.into();
        let now = states(&path);
        self.also.push((path, now));
    }

    /// A file that was in this state when it was looked at, before its reader was: it is watched from then on. `first`
    /// is the fingerprint to compare later ones with.
    pub fn watch_since(
        &mut self,
        path: impl Into<PathBuf>,
        seen: FileState,
        first: &mut Fingerprint,
    ) {
        let path = path.into();
        let states: States = vec![(path.clone(), seen.0)];
        first.0.extend(states.iter().cloned());
        self.also.push((path, states));
    }

    /// Reads everything; long revocation lists by way of their index.
    pub fn load(&self, index: &RevocationIndex) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        for path in &self.certificates {
            loaded.certificates.extend(read_certificates(path)?);
        }
        for path in &self.crls {
            loaded.crls.extend(read_crls(path, index)?);
        }
        Ok(loaded)
    }

    /// The present state of all files, folders entered. A file that cannot be looked at counts
    /// as absent: it is the loader's task to complain.
    pub fn fingerprint(&self) -> Fingerprint {
        let also = self.also.iter().map(|(path, _)| states(path));
        Fingerprint(self.loaded_states().chain(also.flatten()).collect())
    }

    /// The state to compare later fingerprints with, taken before [`Self::load`]: what is only
    /// watched counts as it was when it was named, so that a change while it was read is one.
    pub fn first_fingerprint(&self) -> Fingerprint {
        let also = self.also.iter().map(|(_, seen)| seen.clone());
        Fingerprint(self.loaded_states().chain(also.flatten()).collect())
    }

    fn loaded_states(&self) -> impl Iterator<Item = (PathBuf, Option<[i64; 5]>)> {
        let paths = self.certificates.iter().chain(&self.crls);
        paths.flat_map(|path| states(path))
    }
}

/// Every certificate of a PEM or DER file, or of a folder of them (sorted by file name).
pub fn read_certificates(path: &Path) -> Result<Vec<Certificate>, StoreError> {
    read_all(path, &CERTIFICATES, &|_| Ok(None))
}

/// Every revocation list of a PEM or DER file, or of a folder of them (sorted by file name). A long one in DER
/// is read into the index.
pub fn read_crls(path: &Path, index: &RevocationIndex) -> Result<Vec<Crl>, StoreError> {
    read_all(path, &CRLS, &|file| match is_long_der(file)? {
        true => index.of_file(file).map(Some),
        false => Ok(None),
    })
}

/// Whether a file is long, and no PEM.
fn is_long_der(path: &Path) -> Result<bool, StoreError> {
    let failed = |error| StoreError::read(path, error);
    let mut file = File::open(path).map_err(failed)?;
    if !RevocationIndex::is_for(file.metadata().map_err(failed)?.size()) {
        return Ok(false);
    }
    let mut first = [0];
    file.read_exact(&mut first).map_err(failed)?;
    Ok(first == [0x30])
}

/// Every OCSP response of a DER file, or of a folder of them (sorted by file name).
pub fn read_ocsp(path: &Path) -> Result<Vec<OcspResponse>, StoreError> {
    read_all(path, &OCSP, &|_| Ok(None))
}

/// Reads a file up to `limit` bytes; one byte more is an error.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let mut file = File::open(path).map_err(|error| StoreError::read(path, error))?;
    let mut bytes = Vec::new();
    file.by_ref()
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| StoreError::read(path, error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        Ok(bytes)
    } else {
        Err(StoreError::TooMuch {
            path: path.to_owned(),
            limit,
            unit: "bytes",
        })
    }
}

/// One kind of object and how it is told from others.
struct Kind<T> {
    noun: &'static str,
    labels: &'static [&'static str],
    extensions: &'static [&'static str],
    file_limit: u64,
    parse: fn(&[u8]) -> Result<T, String>,
    /// Whether a DER file of a folder that is not of this kind is of the other one.
    other: fn(&[u8]) -> bool,
}

const CERTIFICATES: Kind<Certificate> = Kind {
    noun: "certificate",
    labels: &["CERTIFICATE", "X509 CERTIFICATE"],
    extensions: &["pem", "crt", "cer", "der"],
    file_limit: MAX_CERTIFICATE_FILE,
    parse: |der| Certificate::from_der(der).map_err(|error| error.to_string()),
    other: |der| Crl::from_der(der).is_ok() || OcspResponse::from_der(der).is_ok(),
};

const CRLS: Kind<Crl> = Kind {
    noun: "revocation list",
    labels: &["X509 CRL", "CRL"],
    extensions: &["pem", "crl", "der"],
    file_limit: MAX_CRL_FILE,
    parse: |der| Crl::from_der(der).map_err(|error| error.to_string()),
    other: |der| Certificate::from_der(der).is_ok() || OcspResponse::from_der(der).is_ok(),
};

const OCSP: Kind<OcspResponse> = Kind {
    noun: "OCSP response",
    labels: &["OCSP RESPONSE"],
    extensions: &["ors", "ocsp", "der"],
    file_limit: MAX_OCSP_FILE,
    parse: |der| OcspResponse::from_der(der).map_err(|error| error.to_string()),
    other: |der| Crl::from_der(der).is_ok() || Certificate::from_der(der).is_ok(),
};

/// `aside` may read a file in another way.
fn read_all<T>(
    path: &Path,
    kind: &Kind<T>,
    aside: &dyn Fn(&Path) -> Result<Option<T>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let metadata = std::fs::metadata(path).map_err(|error| StoreError::read(path, error))?;
    if !metadata.is_dir() {
        if let Some(one) = aside(path)? {
            return Ok(vec![one]);
        }
        let found = read_file(path, kind, false)?;
        if found.is_empty() {
            return Err(StoreError::content(path, format!("holds no {}", kind.noun)));
        }
        return Ok(found);
    }
    let mut found = Vec::new();
    for file in entries(path)? {
        let extension = file
            .extension()
            .and_then(|e| e.to_str())
            .map(str::to_ascii_lowercase);
        if extension.is_some_and(|e| kind.extensions.contains(&e.as_str())) {
            match aside(&file)? {
                Some(one) => found.push(one),
                None => found.extend(read_file(&file, kind, true)?),
            }
        }
    }
    Ok(found)
}

/// In a folder a file may hold objects of the other kind only; a file that is named may not.
fn read_file<T>(path: &Path, kind: &Kind<T>, in_folder: bool) -> Result<Vec<T>, StoreError> {
    let bytes = read_limited(path, kind.file_limit)?;
    let blocks = pem::decode(&bytes).map_err(|e| StoreError::content(path, e.to_string()))?;
    if !blocks.is_empty() {
        let wanted = blocks
            .iter()
            .filter(|block| kind.labels.contains(&block.label.as_str()));
        let parsed = wanted.enumerate().map(|(index, block)| {
            (kind.parse)(&block.bytes).map_err(|text| {
                let (number, noun) = (index.saturating_add(1), kind.noun);
                StoreError::content(path, format!("{noun} {number}: {text}"))
            })
        });
        return parsed.collect();
    }
    match (kind.parse)(&bytes) {
        Ok(one) => Ok(vec![one]),
        Err(_) if in_folder && (kind.other)(&bytes) => Ok(Vec::new()),
        Err(text) => {
            let noun = kind.noun;
            Err(StoreError::content(
                path,
                format!("neither PEM nor a {noun} in DER: {text}"),
            ))
        }
    }
}

/// The regular files of a folder, sorted; hidden ones and editors' copies left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error| StoreError::read(folder, error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        if name.starts_with('.') || name.ends_with('~') || path.is_dir() {
            continue;
        }
        if files.len() >= MAX_FILES {
            let limit = u64::try_from(MAX_FILES).unwrap_or(u64::MAX);
            return Err(StoreError::TooMuch {
                path: folder.to_owned(),
                limit,
                unit: "files",
            });
        }
        files.push(path);
    }
    files.sort();
    Ok(files)
}

/// The state of a path and, if it is a folder, of its files.
fn states(path: &Path) -> States {
    let mut seen = vec![(path.to_owned(), state(path))];
    if path.is_dir() {
        for file in entries(path).unwrap_or_default() {
            let now = state(&file);
            seen.push((file, now));
        }
    }
    seen
}

fn state(path: &Path) -> Option<[i64; 5]> {
    let metadata = std::fs::metadata(path).ok()?;
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Some([
        number(metadata.size()),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        number(metadata.ino()),
    ])
}

/// A bundle of some thousand certificates still fits.
const MAX_CERTIFICATE_FILE: u64 = 16 << 20;
/// The largest complete lists of public authorities are some tens of megabytes.
const MAX_CRL_FILE: u64 = 256 << 20;
const MAX_OCSP_FILE: u64 = 1 << 20;
const MAX_FILES: usize = 10_000;

#[cfg(test)]
mod tests;
