//! The forger: CMS and MIME written at the byte level, one module a family of rows of the threat
//! model. Every shape says what the right verdict is. It shares no parsing, writing or signing code
//! with Kenin.

pub mod card;
pub mod certificates;
pub mod cms;
pub mod der;
pub mod deviations;
pub mod draft;
pub mod enveloped;
pub mod keys;
pub mod mime;
pub mod rows;
pub mod town;
pub mod twin;

pub use town::Town;

/// What a verdict may be.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Expect {
    /// Exactly this result with this reason.
    Is(&'static str, &'static str),
    /// One of these pairs; an empty reason stands for any.
    OneOf(&'static [(&'static str, &'static str)]),
    /// Anything but `pass`.
    NotPass,
}

/// One forged mail and its right verdict.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Shape {
    pub row: &'static str,
    pub name: String,
    pub raw: Vec<u8>,
    pub expect: Expect,
    /// Notes that have to stand beside the verdict.
    pub notes: &'static [&'static str],
    /// Trust files that this shape needs beside the town's: (file name, bytes).
    pub extra: Extra,
    /// Text that must appear in the verdict's JSON.
    pub shows: Vec<String>,
    /// Text that must not appear in the verdict's JSON.
    pub hides: Vec<String>,
}

/// Trust files beside the town's own.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Extra {
    pub crls: Vec<Vec<u8>>,
    pub no_crls: bool,
    pub options: Vec<String>,
}

impl Extra {
    /// Shapes with equal extras can be verified by one call.
    fn key(&self) -> (Vec<Vec<u8>>, bool, Vec<String>) {
        (self.crls.clone(), self.no_crls, self.options.clone())
    }

    /// Whether two shapes can be verified by one call.
    pub fn same(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Shape {
    /// A shape with its right verdict.
    pub fn new(row: &'static str, name: impl Into<String>, raw: Vec<u8>, expect: Expect) -> Self {
        Self {
            row,
            name: name.into(),
            raw,
            expect,
            notes: &[],
            extra: Extra::default(),
            shows: Vec::new(),
            hides: Vec::new(),
        }
    }

    /// With a note that must be there.
    #[must_use]
    pub fn noted(mut self, notes: &'static [&'static str]) -> Self {
        self.notes = notes;
        self
    }

    /// With a CRL beside the town's own.
    #[must_use]
    pub fn crl(mut self, crl: Vec<u8>) -> Self {
        self.extra.crls.push(crl);
        self
    }

    /// With a command line option.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.extra.options.push(option.to_owned());
        self
    }

    /// With text that the JSON must contain.
    #[must_use]
    pub fn shows(mut self, text: &str) -> Self {
        self.shows.push(text.to_owned());
        self
    }

    /// With text that the JSON must not contain.
    #[must_use]
    pub fn hides(mut self, text: &str) -> Self {
        self.hides.push(text.to_owned());
        self
    }
}

impl Expect {
    /// Whether a verdict is allowed.
    pub fn allows(&self, result: &str, reason: &str) -> bool {
        match self {
            Self::Is(want, why) => result == *want && reason == *why,
            Self::OneOf(all) => all
                .iter()
                .any(|(want, why)| result == *want && (why.is_empty() || reason == *why)),
            Self::NotPass => result != "pass",
        }
    }
}
