//! Compressed contents, and bombs.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use kenin_pki::der::write;
use proptest::prelude::*;

use super::*;

const ZLIB: &str = "1.2.840.113549.1.9.16.3.8";
const DATA: &str = "1.2.840.113549.1.7.1";

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A CompressedData with this element as the content.
fn shaped(method: &str, content_type: &str, content: &[u8]) -> Vec<u8> {
    let data = write::seq(&[
        write::integer(0),
        write::seq(&[write::oid(method)]),
        write::seq(&[write::oid(content_type), write::explicit(0, content)]),
    ]);
    write::seq(&[
        write::oid("1.2.840.113549.1.9.16.1.9"),
        write::explicit(0, &data),
    ])
}

fn object(compressed: &[u8]) -> Vec<u8> {
    shaped(ZLIB, DATA, &write::octet_string(compressed))
}

fn in_chunks(compressed: &[u8], size: usize) -> Vec<u8> {
    let chunks: Vec<_> = compressed.chunks(size).map(write::octet_string).collect();
    shaped(ZLIB, DATA, &write::element(0x24, &chunks.concat()))
}

fn expanded(object: &[u8]) -> Result<Vec<u8>, Defect> {
    expand(&mail(object), &Limits::default()).expect("a compressed layer")
}

#[test]
fn what_was_compressed_is_expanded() {
    let long: Vec<u8> = (0..400_000_u32)
        .flat_map(|n| (n / 7).to_be_bytes())
        .collect();
    for content in [&b""[..], ENTITY, &long] {
        let compressed = zlib(content);
        assert_eq!(expanded(&object(&compressed)).as_deref(), Ok(content));
        assert_eq!(
            expanded(&in_chunks(&compressed, 1000)).as_deref(),
            Ok(content)
        );
    }
    let compressed = zlib(ENTITY);
    assert_eq!(expanded(&in_chunks(&compressed, 1)).as_deref(), Ok(ENTITY));
    assert!(expand(&mail(&shape(GCM).write()), &Limits::default()).is_none());
    assert!(expand(ENTITY, &Limits::default()).is_none());
}

/// BOMB-03: a thousand octets out of one.
#[test]
fn a_bomb_is_stopped_where_the_limits_are() {
    let bomb = object(&zlib(&vec![0; 20_000_000]));
    assert!(bomb.len() < 25_000);
    assert_eq!(expanded(&bomb), Err(Defect::LimitCompression));
    let limits = |compression_ratio, message_size| Limits {
        compression_ratio,
        message_size,
        ..Limits::default()
    };
    let with = |limits: &Limits| expand(&mail(&bomb), limits).unwrap();
    assert!(with(&limits(2000, 50_000_000)).is_ok());
    assert!(with(&limits(2000, 20_000_000)).is_ok());
    assert_eq!(
        with(&limits(2000, 19_999_999)),
        Err(Defect::LimitCompression)
    );
    // A short text of one letter is none.
    let short = vec![b'-'; 64 * 1024];
    assert_eq!(expanded(&object(&zlib(&short))), Ok(short.clone()));
    let longer = [&short[..], b"-"].concat();
    assert_eq!(
        expanded(&object(&zlib(&longer))),
        Err(Defect::LimitCompression)
    );
}

#[test]
fn what_is_cut_off_changed_or_followed_by_more_is_not_expanded() {
    let compressed = zlib(ENTITY);
    for length in 0..compressed.len() {
        let cut = object(&compressed[..length]);
        assert_eq!(expanded(&cut), Err(Defect::Malformed), "{length}");
    }
    let more = object(&[&compressed[..], b"x"].concat());
    assert_eq!(expanded(&more), Err(Defect::Malformed));
    let twice = object(&compressed.repeat(2));
    assert_eq!(expanded(&twice), Err(Defect::Malformed));
    let mut checksum = compressed.clone();
    *checksum.last_mut().unwrap() ^= 1;
    assert_eq!(expanded(&object(&checksum)), Err(Defect::Malformed));
    // A raw stream, without the frame of zlib.
    let raw = &compressed[2..compressed.len() - 4];
    assert_eq!(expanded(&object(raw)), Err(Defect::Malformed));
}

#[test]
fn other_methods_and_types_are_told_apart() {
    let content = write::octet_string(&zlib(ENTITY));
    assert_eq!(
        expanded(&shaped("1.2.3.4", DATA, &content)),
        Err(Defect::UnsupportedAlgorithm)
    );
    assert_eq!(
        expanded(&shaped(ZLIB, "1.2.840.113549.1.7.2", &content)),
        Err(Defect::UnsupportedLayer)
    );
    assert_eq!(
        expanded(&shaped(ZLIB, DATA, &write::null())),
        Err(Defect::Malformed)
    );
}

#[test]
fn compressed_and_encrypted_layers_are_counted_together() {
    let limits = Limits::default();
    let mut entity = ENTITY.to_vec();
    for _ in 0..limits.layers {
        entity = mail(&object(&zlib(&entity)));
    }
    let raw = mail(&shape_for(bob(), GCM, &entity).write());
    let mut opened = bob().open(&layer_of(&raw).unwrap()).unwrap();
    for _ in 1..limits.layers {
        opened = opened.expanded(&limits).unwrap().unwrap();
        assert_eq!(opened.integrity, Integrity::Aead);
    }
    let last = opened.expanded(&limits).unwrap();
    assert_eq!(last.err(), Some(Defect::LimitLayers));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_octets_stay_within_the_limits(
        octets in proptest::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        let limits = Limits { compression_ratio: 2, message_size: 100_000, ..Limits::default() };
        let mut compressed = zlib(&[b'x'; 5000]);
        let at = at.index(compressed.len());
        compressed.splice(at.., octets);
        if let Some(Ok(expanded)) = expand(&mail(&object(&compressed)), &limits) {
            prop_assert!(expanded.len() <= 64 * 1024);
        }
    }
}
