use proptest::prelude::*;

use super::*;
use crate::der::write;

fn parse(bytes: &[u8]) -> Result<Tape<'_>, BerError> {
    Tape::parse(bytes, &Limits::default())
}

/// Runs on the smallest stack that a worker may have.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn definite_and_indefinite_lengths_read_alike() {
    let definite = [0x30, 0x06, 0x02, 0x01, 0x05, 0x04, 0x01, 0x61];
    let indefinite = [0x30, 0x80, 0x02, 0x01, 0x05, 0x04, 0x01, 0x61, 0x00, 0x00];
    for bytes in [&definite[..], &indefinite] {
        let tape = parse(bytes).unwrap();
        let root = tape.root();
        assert_eq!(root.tag(), Tag::SEQUENCE);
        assert_eq!(root.raw(), bytes);
        assert_eq!(root.content(), &definite[2..]);
        let children: Vec<_> = root.children().collect();
        assert_eq!(children.len(), 2);
        assert_eq!(children[0].small(), Some(5));
        assert_eq!(children[1].octet_string().unwrap().contiguous(), &b"a"[..]);
        assert_eq!((root.depth(), children[0].depth()), (0, 1));
    }
    assert!(parse(&indefinite).unwrap().root().is_indefinite());
}

#[test]
fn lengths_and_strings_are_brought_into_the_form_of_der() {
    // SEQUENCE { OID 1.2, [0] { OCTET STRING "ab" in chunks }, INTEGER 5 with a long length }.
    let bytes = [
        0x30, 0x80, 0x06, 0x01, 0x2a, 0xa0, 0x80, 0x24, 0x80, 0x04, 0x01, b'a', 0x24, 0x03, 0x04,
        0x01, b'b', 0x00, 0x00, 0x00, 0x00, 0x02, 0x82, 0x00, 0x01, 0x05, 0x00, 0x00,
    ];
    let der = [
        0x30, 0x0c, 0x06, 0x01, 0x2a, 0xa0, 0x04, 0x04, 0x02, b'a', b'b', 0x02, 0x01, 0x05,
    ];
    let tape = parse(&bytes).unwrap();
    assert_eq!(*tape.root().to_der(), der);
    let last = tape.root().children().last().unwrap();
    assert_eq!(*last.to_der(), [0x02, 0x01, 0x05]);
    let tape = parse(&der).unwrap();
    assert!(matches!(
        tape.root().to_der(),
        std::borrow::Cow::Borrowed(_)
    ));
    // Too long for a name, and a tag of two octets: they stay.
    let string = write::octet_string(&[0; 1 << 17]);
    let long = [&b"\x24\x80"[..], &string, b"\0\0"].concat();
    for bytes in [&long[..], &[0x30, 0x80, 0x1f, 0x1f, 0x00, 0x00, 0x00]] {
        assert_eq!(&*parse(bytes).unwrap().root().to_der(), bytes);
    }
}

#[test]
fn constructed_strings_come_in_chunks() {
    // [0] IMPLICIT OCTET STRING, constructed, of "ab", of a constructed "c" and "", and of "d".
    let bytes = [
        0xa0, 0x80, 0x04, 0x02, b'a', b'b', 0x24, 0x80, 0x04, 0x01, b'c', 0x04, 0x00, 0x00, 0x00,
        0x04, 0x81, 0x01, b'd', 0x00, 0x00,
    ];
    let tape = parse(&bytes).unwrap();
    let octets = tape.root().octets(Tag::context(0)).unwrap();
    assert_eq!(octets.total(), 4);
    assert_eq!(
        octets.clone().collect::<Vec<_>>(),
        [&b"ab"[..], b"c", b"", b"d"]
    );
    assert_eq!(octets.contiguous(), &b"abcd"[..]);
    assert!(tape.root().octet_string().is_none());
    // Anything but OCTET STRING inside is not a string.
    let odd = [0x24, 0x80, 0x02, 0x01, 0x05, 0x00, 0x00];
    assert!(parse(&odd).unwrap().root().octet_string().is_none());
}

#[test]
fn siblings_and_nesting_are_told_apart() {
    let inner = write::seq(&[write::integer(1), write::seq(&[write::integer(2)])]);
    let bytes = write::seq(&[inner, write::integer(3)]);
    let tape = parse(&bytes).unwrap();
    let top: Vec<_> = tape.root().children().map(Cursor::tag).collect();
    assert_eq!(top, [Tag::SEQUENCE, Tag::INTEGER]);
    let first = tape.root().first_child().unwrap();
    assert_eq!(first.children().count(), 2);
    assert!(first.only_child().is_none());
    assert_eq!(tape.elements(), 6);
}

#[test]
fn der_headers_are_told_from_others() {
    let tape = parse(&[0x30, 0x81, 0x03, 0x02, 0x01, 0x05]).unwrap();
    assert!(!tape.root().has_der_header());
    assert!(tape.root().first_child().unwrap().has_der_header());
    for bytes in [
        &[0x30, 0x80, 0, 0][..],
        &[0x1f, 0x05, 0x00],
        &[0x04, 0x82, 0x00, 0x01, 0x00],
    ] {
        assert!(!parse(bytes).unwrap().root().has_der_header(), "{bytes:?}");
    }
    assert!(parse(&[0x1f, 0x1f, 0x00]).unwrap().root().has_der_header());
}

#[test]
fn trailing_bytes_are_refused_or_handed_back() {
    let bytes = [0x05, 0x00, 0x0d, 0x0a];
    assert_eq!(
        parse(&bytes).unwrap_err(),
        BerError::Malformed {
            what: "trailing bytes",
            at: 2
        }
    );
    let tape = Tape::parse_prefix(&bytes, &Limits::default()).unwrap();
    assert_eq!((tape.rest(), tape.length()), (&b"\r\n"[..], 2));
}

#[test]
fn malformed_bytes_are_malformed() {
    for bad in [
        &[][..],
        &[0x30],
        &[0x30, 0x01],
        &[0x30, 0x80],
        &[0x30, 0x80, 0x00],
        &[0x04, 0x80, 0x00, 0x00],
        &[0x00, 0x00],
        &[0x30, 0x02, 0x00, 0x00],
        &[0x30, 0x80, 0x00, 0x01, 0x00],
        &[0x30, 0x80, 0x20, 0x00, 0x00, 0x00],
        &[0x04, 0xff, 0x00],
        &[0x30, 0x04, 0x30, 0x80, 0x00, 0x00, 0x00],
        &[0x30, 0x03, 0x04, 0x02, 0x00],
        &[0x1f, 0x80, 0x01, 0x00],
        &[0x1f, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x00],
    ] {
        let error = parse(bad).unwrap_err();
        assert!(!error.is_limit(), "{bad:?} {error}");
    }
}

#[test]
fn claimed_lengths_are_not_believed() {
    for length in [
        &[0x84, 0xff, 0xff, 0xff, 0xff][..],
        &[0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xfe; 127],
    ] {
        for tag in [0x04, 0x30, 0x24] {
            let bytes = [&[tag], length, &[0; 40]].concat();
            assert!(!parse(&bytes).unwrap_err().is_limit());
        }
    }
    // Many leading zeros are a long way to say 1, and still 1.
    let mut bytes = vec![0x04, 0x80 | 100];
    bytes.extend([0; 99]);
    bytes.extend([1, b'x']);
    assert_eq!(parse(&bytes).unwrap().root().content(), b"x");
}

#[test]
fn depth_has_a_limit_at_its_edge() {
    let nested = |levels: usize| {
        let mut bytes = [0x30, 0x80].repeat(levels);
        bytes.extend([0, 0].repeat(levels));
        bytes
    };
    assert_eq!(parse(&nested(33)).unwrap().elements(), 33);
    assert!(parse(&nested(34)).unwrap_err().is_limit());
}

#[test]
fn depth_bombs_end_at_once_on_a_small_stack() {
    on_a_small_stack(|| {
        for pattern in [
            &[0x30, 0x80][..],
            &[0xa0, 0x80],
            &[0x24, 0x80],
            &[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff],
        ] {
            let bytes = pattern.repeat(1_000_000);
            assert!(parse(&bytes).is_err());
        }
        let mut closed = [0xa0, 0x80].repeat(1_000_000);
        closed.extend([0, 0].repeat(1_000_000));
        assert!(parse(&closed).unwrap_err().is_limit());
    });
}

#[test]
fn the_number_of_elements_has_a_limit_at_its_edge() {
    let limits = Limits {
        depth: 4,
        elements: 1000,
    };
    let bytes = write::element(0x30, &[0x05, 0x00].repeat(999));
    assert_eq!(Tape::parse(&bytes, &limits).unwrap().elements(), 1000);
    let bytes = write::element(0x30, &[0x05, 0x00].repeat(1000));
    assert!(Tape::parse(&bytes, &limits).unwrap_err().is_limit());
    // Ten million empty elements are refused after the first 200,000.
    let bytes = write::element(0x30, &[0x05, 0x00].repeat(10_000_000));
    assert!(parse(&bytes).unwrap_err().is_limit());
}

/// Any tree of elements, with a length form for each.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(Vec<u8>),
    Node(Vec<Self>, u8),
}

impl Tree {
    fn any() -> impl Strategy<Value = Self> {
        let leaf = proptest::collection::vec(any::<u8>(), 0..20).prop_map(Self::Leaf);
        leaf.prop_recursive(6, 60, 6, |inner| {
            (proptest::collection::vec(inner, 0..6), 0_u8..3)
                .prop_map(|(all, form)| Self::Node(all, form))
        })
    }

    fn write(&self) -> Vec<u8> {
        match self {
            Self::Leaf(octets) => write::octet_string(octets),
            Self::Node(all, form) => {
                let content: Vec<u8> = all.iter().flat_map(Self::write).collect();
                match form {
                    0 => write::element(0x30, &content),
                    1 => [&[0x30, 0x80], &content[..], &[0, 0]].concat(),
                    _ => {
                        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
                        [&[0x30, 0x84], &length[..], &content].concat()
                    }
                }
            }
        }
    }

    fn check(&self, cursor: Cursor<'_, '_>) {
        match self {
            Self::Leaf(octets) => assert_eq!(cursor.content(), octets),
            Self::Node(all, _) => {
                let children: Vec<_> = cursor.children().collect();
                assert_eq!(children.len(), all.len());
                for (tree, child) in all.iter().zip(children) {
                    tree.check(child);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads(tree in Tree::any()) {
        let bytes = tree.write();
        let tape = parse(&bytes).unwrap();
        prop_assert_eq!(tape.root().raw(), &bytes[..]);
        tree.check(tape.root());
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        walk(&bytes);
    }

    #[test]
    fn mutated_bytes_do_not_panic(tree in Tree::any(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = tree.write();
        let at = at.index(bytes.len());
        bytes[at] = value;
        walk(&bytes);
    }
}

/// Everything a cursor can be asked.
fn walk(bytes: &[u8]) {
    let Ok(tape) = Tape::parse_prefix(bytes, &Limits::default()) else {
        return;
    };
    assert_eq!(tape.length() + tape.rest().len(), bytes.len());
    let mut open = vec![tape.root()];
    let mut seen = 0;
    while let Some(cursor) = open.pop() {
        seen += 1;
        assert!(cursor.raw().len() >= cursor.content().len());
        let _ = (
            cursor.oid(),
            cursor.small(),
            cursor.integer(),
            cursor.octet_string().map(Octets::contiguous),
        );
        open.extend(cursor.children());
    }
    assert_eq!(seen, tape.elements());
}
