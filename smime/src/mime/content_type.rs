//! Content-Type and its parameters (RFC 2045 §5.1), read once and strictly.
//!
//! Odd spellings are kept and marked: a hint may use them, a signature may not. RFC 2231 forms are
//! not joined; they are only recognised.

/// A parsed Content-Type (or any `value; name=value…` field).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentType {
    /// `type/subtype` in lower case, as far as it could be read.
    pub essence: String,
    /// The parameters, in order (at most 64; more than any mail has).
    pub parameters: Vec<Parameter>,
    /// The field does not follow the grammar, or uses it in a way that readers understand differently:
    /// comments, quoted pairs.
    pub odd: bool,
    /// The same of what stands before the parameters.
    pub type_odd: bool,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Name in lower case, as written (`boundary`, `name*0*`).
    pub name: String,
    /// The value, without quotes and quoted pairs.
    pub value: Vec<u8>,
    /// The value does not follow the grammar, or holds quoted pairs or line ends.
    pub odd: bool,
}

impl Parameter {
    /// The name without what RFC 2231 puts behind it.
    fn base(&self) -> &str {
        self.name.split('*').next().unwrap_or_default().trim()
    }
}

impl ContentType {
    /// Reads a field value: what follows the colon, folds included.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let mut reader = Reader {
            rest: value,
            odd: false,
        };
        let mut parsed = Self::default();
        reader.skip_space();
        parsed.essence = lower(reader.until(|byte| matches!(byte, b';' | b'(') || is_space(byte)));
        let mut halves = parsed.essence.split('/');
        let tokens = [halves.next(), halves.next()];
        let tokens = tokens
            .iter()
            .all(|half| half.is_some_and(|half| is_token(half.as_bytes())));
        reader.odd |= !tokens || halves.next().is_some();
        reader.skip_space();
        reader.odd |= !matches!(reader.rest.first(), None | Some(b';'));
        parsed.type_odd = reader.odd;
        while !reader.rest.is_empty() {
            if !reader.eat(b';') {
                // Text between parameters: some readers skip it, some stop here.
                reader.odd = true;
                reader.until(|byte| byte == b';');
                continue;
            }
            reader.skip_space();
            if reader.rest.is_empty() || reader.rest.first() == Some(&b';') {
                continue;
            }
            if parsed.parameters.len() >= MAX_PARAMETERS {
                reader.odd = true;
                break;
            }
            let parameter = reader.parameter();
            parsed.parameters.push(parameter);
        }
        parsed.odd = reader.odd;
        parsed
    }

    /// The first parameter of this very name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters
            .iter()
            .find(|parameter| parameter.name == name)
    }

    /// Whether there is a parameter of this name, in RFC 2231 form or not.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.parameters
            .iter()
            .any(|parameter| parameter.base() == name)
    }

    /// Whether a message/rfc822 of this type stands for the message around it instead of being a forwarded
    /// one (RFC 8551 §3.1: `forwarded=no`).
    pub(crate) fn wraps_message(&self) -> bool {
        let forwarded = self.only("forwarded");
        self.names("forwarded")
            && !forwarded.is_some_and(|parameter| parameter.value.eq_ignore_ascii_case(b"yes"))
    }

    /// The only parameter of this name, if it is written once, plainly and not in RFC 2231 form.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&Parameter> {
        let mut found = self
            .parameters
            .iter()
            .filter(|parameter| parameter.base() == name);
        let first = found.next()?;
        (found.next().is_none() && first.name == name && !first.odd).then_some(first)
    }

    /// Whether the only parameter of this name has this value, in any case.
    pub(crate) fn says(&self, name: &str, value: &[u8]) -> bool {
        self.only(name)
            .is_some_and(|said| said.value.eq_ignore_ascii_case(value))
    }

    /// The value of a parameter in lower case, for comparisons with known words.
    #[must_use]
    pub fn word(&self, name: &str) -> Option<String> {
        self.parameter(name)
            .map(|parameter| lower(parameter.value.trim_ascii()))
    }

    /// Whether the value of the `name` or `filename` parameter ends so, in any case.
    #[must_use]
    pub fn file_ends_with(&self, ending: &str) -> bool {
        self.parameters.iter().any(|parameter| {
            matches!(
                parameter.name.as_str(),
                "name" | "filename" | "name*" | "filename*"
            ) && lower(parameter.value.trim_ascii()).ends_with(ending)
        })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    odd: bool,
}

impl<'a> Reader<'a> {
    fn until(&mut self, stop: impl Fn(u8) -> bool) -> &'a [u8] {
        let at = self
            .rest
            .iter()
            .position(|&byte| stop(byte))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(at).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// White space, folds and comments. Many readers know no comments, so that one is odd.
    fn skip_space(&mut self) {
        loop {
            self.until(|byte| !is_space(byte));
            if self.rest.first() != Some(&b'(') {
                return;
            }
            self.odd = true;
            let mut depth = 0_usize;
            while let Some((&byte, rest)) = self.rest.split_first() {
                self.rest = rest;
                match byte {
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
    }

    fn parameter(&mut self) -> Parameter {
        let name = self.until(|byte| matches!(byte, b'=' | b';' | b'(' | b'"') || is_space(byte));
        let mut parameter = Parameter {
            name: lower(name),
            value: Vec::new(),
            odd: false,
        };
        self.odd |= !is_token(name);
        let space_before = self.rest.first().copied().is_some_and(is_space);
        self.skip_space();
        if !self.eat(b'=') {
            self.odd = true;
            self.until(|byte| byte == b';');
            parameter.odd = true;
            return parameter;
        }
        // RFC 2045 has no space around "="; most readers skip it, some do not.
        let space_after = self.rest.first().copied().is_some_and(is_space);
        parameter.odd = space_before || space_after;
        self.skip_space();
        if self.eat(b'"') {
            self.quoted(&mut parameter);
        } else {
            let value = self.until(|byte| matches!(byte, b';' | b'(') || is_space(byte));
            parameter.odd |= !is_token(value);
            // A reader that counts quotes goes on behind such a value, and may miss the boundary there.
            // The characters excepted stand unquoted in honest mail.
            self.odd |= !value
                .iter()
                .all(|&byte| is_token(&[byte]) || b"/=?:".contains(&byte));
            parameter.value = value.to_vec();
        }
        self.skip_space();
        parameter
    }

    fn quoted(&mut self, parameter: &mut Parameter) {
        loop {
            let piece = self.until(|byte| matches!(byte, b'"' | b'\\' | b'\r' | b'\n'));
            parameter.value.extend_from_slice(piece);
            let Some((&byte, rest)) = self.rest.split_first() else {
                // No closing quote.
                self.odd = true;
                parameter.odd = true;
                return;
            };
            self.rest = rest;
            match byte {
                b'"' => return,
                b'\\' => {
                    // For a reader that knows no quoted pairs the value ends elsewhere.
                    self.odd = true;
                    parameter.odd = true;
                    if let Some((&escaped, rest)) = self.rest.split_first() {
                        parameter.value.push(escaped);
                        self.rest = rest;
                    }
                }
                _ => parameter.odd = true,
            }
        }
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// RFC 2045 token: printable ASCII without space and `tspecials`.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|&byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
}

fn lower(text: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(text).into_owned();
    text.make_ascii_lowercase();
    text
}

/// Further parameters make the field odd and are not read.
const MAX_PARAMETERS: usize = 64;
