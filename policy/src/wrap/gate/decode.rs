//! Decoders that are given their text piece by piece and keep no more of it than one escape, or one octet.
//! What is no encoding goes through, or ends what was one; nothing is an error.

use std::sync::LazyLock;

/// Undoes quoted-printable, as far as it is.
/// <https://www.rfc-editor.org/rfc/rfc2045#section-6.7>.
#[derive(Debug, Default)]
pub(super) struct Quoted {
    /// An equals sign, and what may belong to it.
    begun: Vec<u8>,
}

/// What an octet is behind the beginning of an escape.
enum Escape {
    /// More of it.
    Begun,
    /// Its end: it stands for this octet, or for a line end that is none.
    Over(Option<u8>),
    /// There was none.
    Nothing,
}

impl Quoted {
    /// Whether what comes out is anything else than what went in.
    pub(super) fn push(&mut self, text: &[u8], last: bool, out: &mut Vec<u8>) -> bool {
        let mut changed = false;
        let mut rest = text;
        loop {
            if self.begun.is_empty() {
                let Some(at) = memchr::memchr(b'=', rest) else {
                    out.extend_from_slice(rest);
                    break;
                };
                let (plain, escape) = rest.split_at(at);
                out.extend_from_slice(plain);
                self.begun.push(b'=');
                rest = escape.get(1..).unwrap_or_default();
            }
            let Some((octet, after)) = rest.split_first() else {
                break;
            };
            match escape(&self.begun, *octet) {
                Escape::Begun => {
                    self.begun.push(*octet);
                    rest = after;
                }
                Escape::Over(meant) => {
                    out.extend(meant);
                    self.begun.clear();
                    rest = after;
                    changed = true;
                }
                // This octet may itself begin one.
                Escape::Nothing => out.append(&mut self.begun),
            }
        }
        if last {
            out.append(&mut self.begun);
        }
        changed
    }
}

fn escape(begun: &[u8], octet: u8) -> Escape {
    match (begun, octet) {
        // Blanks before the line end were put there by others.
        ([b'='] | [b'=', .., b' ' | b'\t' | b'\r'], b'\n') => Escape::Over(None),
        ([b'='] | [b'=', .., b' ' | b'\t'], b' ' | b'\t' | b'\r') if begun.len() < BLANKS => {
            Escape::Begun
        }
        ([b'='], _) if nibble(octet) < END => Escape::Begun,
        ([b'=', high], _) if nibble(*high) < END && nibble(octet) < END => {
            Escape::Over(Some(nibble(*high) << 4 | nibble(octet)))
        }
        _ => Escape::Nothing,
    }
}

/// Finds the letters of an encoding and gives what they stand for. A run goes on over line ends and blanks, as it
/// does in folded fields; behind each stands [`END`].
#[derive(Debug)]
pub(super) struct Runs {
    meanings: &'static [u8; 256],
    /// The beginning of a run that may be too short.
    begun: Vec<u8>,
    long: bool,
}

impl Runs {
    /// Those of base64, in its own alphabet and in that for file names (RFC 4648 §4 and §5).
    pub(super) fn base64() -> Self {
        Self::new(&BASE64)
    }

    /// Those of hexadecimal digits, with nothing or a colon or blanks between them.
    pub(super) fn hexadecimal() -> Self {
        Self::new(&HEXADECIMAL)
    }

    fn new(meanings: &'static LazyLock<[u8; 256]>) -> Self {
        Self {
            meanings: LazyLock::force(meanings),
            begun: Vec::new(),
            long: false,
        }
    }

    /// The values of the runs that are long enough.
    pub(super) fn push(&mut self, text: &[u8], out: &mut Vec<u8>) {
        for octet in text {
            let meaning = self.meanings.get(usize::from(*octet)).copied();
            match meaning.unwrap_or(END) {
                BETWEEN => {}
                END => {
                    if self.long {
                        out.push(END);
                    }
                    self.long = false;
                    self.begun.clear();
                }
                value if self.long => out.push(value),
                value => {
                    self.begun.push(value);
                    if self.begun.len() == SHORTEST {
                        out.append(&mut self.begun);
                        self.long = true;
                    }
                }
            }
        }
    }
}

fn sextet(octet: u8) -> u8 {
    match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        b'\r' | b'\n' | b' ' | b'\t' => BETWEEN,
        _ => END,
    }
}

fn nibble(octet: u8) -> u8 {
    match octet {
        b'0'..=b'9' => octet - b'0',
        b'a'..=b'f' => octet - b'a' + 10,
        b'A'..=b'F' => octet - b'A' + 10,
        _ => END,
    }
}

fn digit(octet: u8) -> u8 {
    match octet {
        b':' | b'\r' | b'\n' | b' ' | b'\t' => BETWEEN,
        _ => nibble(octet),
    }
}

fn table(meaning: fn(u8) -> u8) -> [u8; 256] {
    std::array::from_fn(|octet| u8::try_from(octet).map_or(END, meaning))
}

static BASE64: LazyLock<[u8; 256]> = LazyLock::new(|| table(sextet));
static HEXADECIMAL: LazyLock<[u8; 256]> = LazyLock::new(|| table(digit));

/// Makes octets of values of `WIDTH` bits, 4 or 6, leaving out so many bits at the beginning of each run. Behind each
/// run stands an octet that is nothing in any encoding.
#[derive(Debug)]
pub(super) struct Bits<const WIDTH: usize> {
    place: usize,
    skip: usize,
    /// Bits that are no octet yet.
    held: u32,
    bits: usize,
}

impl<const WIDTH: usize> Bits<WIDTH> {
    pub(super) fn new(place: usize) -> Self {
        Self {
            place,
            skip: place,
            held: 0,
            bits: 0,
        }
    }

    pub(super) fn push(&mut self, values: &[u8], out: &mut Vec<u8>) {
        let mut rest = values;
        loop {
            // Four values are whole octets: nearly all of a long run goes this way.
            while self.skip == 0
                && self.bits == 0
                && let [a, b, c, d, after @ ..] = rest
                && (a | b | c | d) < END_OF_VALUES
            {
                let four = [a, b, c, d].into_iter();
                let four = four.fold(0_u32, |four, value| four << WIDTH | u32::from(*value));
                let octets = four.to_be_bytes();
                out.extend_from_slice(octets.get(4 - WIDTH / 2..).unwrap_or_default());
                rest = after;
            }
            let Some((value, after)) = rest.split_first() else {
                return;
            };
            rest = after;
            if *value == END {
                *self = Self::new(self.place);
                out.push(NOTHING);
                continue;
            }
            self.held = self.held << WIDTH | u32::from(*value);
            self.bits += WIDTH;
            let left_out = self.skip.min(self.bits);
            self.skip -= left_out;
            self.bits -= left_out;
            if self.bits >= 8 {
                self.bits -= 8;
                let [.., octet] = (self.held >> self.bits).to_be_bytes();
                out.push(octet);
            }
            self.held &= (1 << self.bits) - 1;
        }
    }
}

/// The values of `WIDTH` bits that an octet string has in all its encodings in which `before` octets stand before it,
/// but for the first ones: those that it shares with what stands beside it are not among them.
pub(super) fn values<const WIDTH: usize>(octets: &[u8], before: usize, without: usize) -> Vec<u8> {
    let shared = (before * 8).div_ceil(WIDTH);
    let (mut held, mut bits) = (0_u32, 0_usize);
    let mut out = Vec::with_capacity((before + octets.len()) * 8 / WIDTH);
    for octet in std::iter::repeat_n(&0, before).chain(octets) {
        held = held << 8 | u32::from(*octet);
        bits += 8;
        while bits >= WIDTH {
            bits -= WIDTH;
            let [.., value] = ((held >> bits) & ((1 << WIDTH) - 1)).to_be_bytes();
            out.push(value);
        }
        held &= (1 << bits) - 1;
    }
    out.drain(..out.len().min(shared + without));
    out
}

/// Letters of the shortest run that is read.
const SHORTEST: usize = 10;
/// Blanks behind an equals sign that are still taken for a soft line break.
const BLANKS: usize = 64;
/// Stands for no letter: the run is over. Values are smaller than the next one.
const END: u8 = 0xff;
const END_OF_VALUES: u8 = 0x40;
/// Stands for what may stand between letters.
const BETWEEN: u8 = 0xfe;
/// Between what was decoded from two runs.
const NOTHING: u8 = 0;
