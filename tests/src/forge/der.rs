//! A byte-level DER and BER writer for forged objects. It shares no code with `kenin-pki`, so that
//! a mistake there cannot hide itself here; and unlike an honest writer it will write anything.
//! <https://www.itu.int/rec/T-REC-X.690>

/// Tag octets.
pub const SEQUENCE: u8 = 0x30;
/// SET and SET OF.
pub const SET: u8 = 0x31;
/// OCTET STRING, primitive.
pub const OCTETS: u8 = 0x04;

/// A tag with content, definite minimal length.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend(length(content.len()));
    out.extend_from_slice(content);
    out
}

/// The minimal length octets.
pub fn length(len: usize) -> Vec<u8> {
    if len < 0x80 {
        return vec![len as u8];
    }
    let bytes: Vec<u8> = len
        .to_be_bytes()
        .into_iter()
        .skip_while(|b| *b == 0)
        .collect();
    let mut out = vec![0x80 | bytes.len() as u8];
    out.extend(bytes);
    out
}

/// A tag with content, the length written in `octets` octets however small it is (BER only).
pub fn long(tag: u8, content: &[u8], octets: usize) -> Vec<u8> {
    let all = content.len().to_be_bytes();
    let mut out = vec![tag, 0x80 | octets as u8];
    if octets > all.len() {
        out.extend(std::iter::repeat_n(0, octets - all.len()));
        out.extend(all);
    } else {
        out.extend(&all[all.len() - octets..]);
    }
    out.extend_from_slice(content);
    out
}

/// A constructed tag of indefinite length (BER only).
pub fn indefinite(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag, 0x80];
    out.extend_from_slice(content);
    out.extend([0, 0]);
    out
}

/// Joins parts.
pub fn cat<I, T>(parts: I) -> Vec<u8>
where
    I: IntoIterator<Item = T>,
    T: AsRef<[u8]>,
{
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(part.as_ref());
    }
    out
}

/// SEQUENCE of encoded parts.
pub fn seq<I, T>(parts: I) -> Vec<u8>
where
    I: IntoIterator<Item = T>,
    T: AsRef<[u8]>,
{
    tlv(SEQUENCE, &cat(parts))
}

/// SET OF in DER order.
pub fn set_of<T: AsRef<[u8]>>(parts: &[T]) -> Vec<u8> {
    tlv(SET, &sorted(parts))
}

/// Encoded parts in DER order, joined.
pub fn sorted<T: AsRef<[u8]>>(parts: &[T]) -> Vec<u8> {
    let mut all: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
    all.sort_unstable();
    cat(all)
}

/// OBJECT IDENTIFIER from its dotted form.
pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|a| a.parse().unwrap()).collect();
    let mut body = Vec::new();
    let mut put = |mut arc: u64| {
        let mut digits = vec![(arc & 0x7f) as u8];
        arc >>= 7;
        while arc > 0 {
            digits.push(0x80 | (arc & 0x7f) as u8);
            arc >>= 7;
        }
        body.extend(digits.into_iter().rev());
    };
    put(arcs[0] * 40 + arcs[1]);
    arcs[2..].iter().for_each(|arc| put(*arc));
    tlv(6, &body)
}

/// A small INTEGER.
pub fn int(value: i64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let mut at = 0;
    while at < 7
        && ((bytes[at] == 0 && bytes[at + 1] < 0x80)
            || (bytes[at] == 0xff && bytes[at + 1] >= 0x80))
    {
        at += 1;
    }
    tlv(2, &bytes[at..])
}

/// An unsigned INTEGER of any size from big-endian bytes.
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let at = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let mut body = bytes[at..].to_vec();
    if body.first().is_none_or(|b| *b >= 0x80) {
        body.insert(0, 0);
    }
    tlv(2, &body)
}

/// OCTET STRING.
pub fn octets(content: &[u8]) -> Vec<u8> {
    tlv(OCTETS, content)
}

/// OCTET STRING cut into chunks inside an indefinite-length constructed one, as streaming writers do.
pub fn chunked_octets(content: &[u8], chunk: usize) -> Vec<u8> {
    indefinite(0x24, &cat(content.chunks(chunk).map(octets)))
}

/// BIT STRING without unused bits.
pub fn bits(content: &[u8]) -> Vec<u8> {
    tlv(3, &cat([&[0][..], content]))
}

/// NULL.
pub fn null() -> Vec<u8> {
    vec![5, 0]
}

/// BOOLEAN.
pub fn boolean(value: bool) -> Vec<u8> {
    vec![1, 1, if value { 0xff } else { 0 }]
}

/// UTF8String.
pub fn utf8(text: &str) -> Vec<u8> {
    tlv(12, text.as_bytes())
}

/// PrintableString.
pub fn printable(text: &str) -> Vec<u8> {
    tlv(0x13, text.as_bytes())
}

/// IA5String of any bytes.
pub fn ia5(bytes: &[u8]) -> Vec<u8> {
    tlv(22, bytes)
}

/// UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 chooses, from `YYYYMMDDHHMMSSZ`.
pub fn time(text: &str) -> Vec<u8> {
    if ("1950".."2050").contains(&&text[..4]) {
        tlv(23, &text.as_bytes()[2..])
    } else {
        tlv(24, text.as_bytes())
    }
}

/// EXPLICIT context tag.
pub fn explicit(number: u8, inner: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, inner)
}

/// The same element under another tag octet (IMPLICIT tagging).
pub fn retag(tag: u8, element: &[u8]) -> Vec<u8> {
    let mut out = element.to_vec();
    out[0] = tag;
    out
}

/// The content octets of a definite-length element.
pub fn content(element: &[u8]) -> &[u8] {
    let first = usize::from(element[1]);
    let header = if first < 0x80 { 2 } else { 2 + (first & 0x7f) };
    &element[header..]
}

/// The elements in a constructed element, all of definite lengths.
pub fn elements(element: &[u8]) -> Vec<&[u8]> {
    let mut rest = content(element);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let first = usize::from(rest[1]);
        let (header, length) = match first {
            0..0x80 => (2, first),
            _ => {
                let header = 2 + (first & 0x7f);
                let octets = rest[2..header].iter();
                (
                    header,
                    octets.fold(0, |sum, octet| sum << 8 | usize::from(*octet)),
                )
            }
        };
        let (one, behind) = rest.split_at(header + length);
        found.push(one);
        rest = behind;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_what_was_put_together() {
        let long = octets(&[7; 70_000]);
        let all = seq([int(5), long.clone(), null()]);
        assert_eq!(elements(&all), [&int(5)[..], &long, &null()]);
        assert!(elements(&seq::<_, Vec<u8>>([])).is_empty());
    }

    #[test]
    fn known_encodings() {
        assert_eq!(
            oid("1.2.840.113549.1.7.2"),
            b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
        );
        assert_eq!(int(0), [2, 1, 0]);
        assert_eq!(int(128), [2, 2, 0, 128]);
        assert_eq!(int(-1), [2, 1, 255]);
        assert_eq!(unsigned(&[0, 0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(tlv(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(long(4, b"a", 3), [4, 0x83, 0, 0, 1, b'a']);
        assert_eq!(set_of(&[int(5), int(2)]), [0x31, 6, 2, 1, 2, 2, 1, 5]);
        assert_eq!(time("20510101000000Z")[0], 24);
        assert_eq!(content(&tlv(4, &[7; 200])), [7; 200]);
    }
}
