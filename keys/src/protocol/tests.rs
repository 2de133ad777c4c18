use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};

use kenin_pki::crypto::{Aes, DigestAlgorithm, Kdf, KeyWrap, MlDsa, Wrapping};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::testing::{facts, generated};

/// Checks the length, and cuts it off.
fn body(frame: &[u8]) -> &[u8] {
    let (length, body) = frame.split_first_chunk().unwrap();
    assert_eq!(usize::try_from(u32::from_be_bytes(*length)), Ok(body.len()));
    body
}

fn addresses() -> impl Strategy<Value = Address> {
    "[a-z]{1,8}(\\.[a-z]{1,8})?@[a-z]{1,8}\\.example"
        .prop_map(|text| Address::parse(&text).unwrap())
}

fn transactions() -> impl Strategy<Value = Transaction> {
    any::<[u8; 16]>().prop_map(Transaction)
}

fn ids() -> impl Strategy<Value = KeyId> {
    any::<[u8; 16]>().prop_map(KeyId::from_octets)
}

fn clients() -> impl Strategy<Value = Option<IpAddr>> {
    prop_oneof![
        Just(None),
        any::<u32>().prop_map(|number| Some(Ipv4Addr::from(number).into())),
        any::<u128>().prop_map(|number| Some(Ipv6Addr::from(number).into())),
    ]
}

fn edge_requests() -> impl Strategy<Value = EdgeRequest> {
    let tenant = "[a-z検]{1,9}";
    let grants = (
        transactions(),
        tenant,
        vec(addresses(), 0..20),
        option::of(addresses()),
        clients(),
        any::<u32>(),
    );
    prop_oneof![
        grants.prop_map(
            |(transaction, tenant, recipients, sender, client, seconds)| {
                EdgeRequest::Grant(Grant {
                    transaction,
                    tenant,
                    recipients,
                    sender,
                    client,
                    seconds,
                })
            }
        ),
        transactions().prop_map(EdgeRequest::Release),
        (transactions(), addresses(), ids()).prop_map(|(transaction, recipient, key)| {
            EdgeRequest::Opened {
                transaction,
                recipient,
                key,
            }
        }),
        option::of(ids()).prop_map(EdgeRequest::Next),
    ]
}

fn wrappings() -> impl Strategy<Value = Wrapping> {
    let sha = || {
        prop_oneof![
            Just(DigestAlgorithm::Sha256),
            Just(DigestAlgorithm::Sha384),
            Just(DigestAlgorithm::Sha512),
        ]
    };
    let wraps = || {
        prop_oneof![
            Just(KeyWrap::Aes(Aes::Bits128)),
            Just(KeyWrap::Aes(Aes::Bits256)),
            Just(KeyWrap::TripleDes),
        ]
    };
    let info = || vec(any::<u8>(), 0..200);
    prop_oneof![
        (sha(), any::<bool>(), wraps(), info()).prop_map(|(digest, hkdf, wrap, shared_info)| {
            let kdf = if hkdf {
                Kdf::Hkdf(digest)
            } else {
                Kdf::X963(digest)
            };
            Wrapping::Agreement {
                kdf,
                wrap,
                shared_info,
            }
        }),
        (sha(), wraps(), info()).prop_map(|(digest, wrap, info)| {
            let kdf = Kdf::Hkdf(digest);
            Wrapping::Kem { kdf, wrap, info }
        }),
        Just(Wrapping::RsaPkcs1),
    ]
}

fn worker_requests() -> impl Strategy<Value = WorkerRequest> {
    let octets = || vec(any::<u8>(), 0..600);
    let unwraps = (
        transactions(),
        addresses(),
        ids(),
        1..=64_u32,
        (wrappings(), octets(), octets()),
    );
    let algorithms = prop_oneof![
        Just(SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256)),
        Just(SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha384)),
        Just(SignatureAlgorithm::Ed25519),
        Just(SignatureAlgorithm::MlDsa(MlDsa::Dsa87)),
    ];
    prop_oneof![
        unwraps.prop_map(|(transaction, recipient, key, length, wrapped)| {
            let (wrapping, encrypted_key, peer) = wrapped;
            WorkerRequest::Unwrap(Unwrap {
                transaction,
                recipient,
                key,
                length,
                wrapped: Wrapped {
                    wrapping,
                    encrypted_key,
                    peer,
                },
            })
        }),
        (transactions(), ids(), algorithms, octets()).prop_map(
            |(transaction, key, algorithm, attributes)| {
                WorkerRequest::Sign(Sign {
                    transaction,
                    key,
                    algorithm,
                    attributes,
                })
            }
        ),
    ]
}

/// What reads must be written in the same octets: there is one way to say a thing.
fn reads_as_written<T: Debug + PartialEq>(
    octets: &[u8],
    read: impl Fn(&[u8]) -> Result<(u32, T), Malformed>,
    write: impl Fn(&T, u32) -> Vec<u8>,
) {
    if let Ok((number, said)) = read(octets) {
        let again = write(&said, number);
        assert_eq!(read(body(&again)), Ok((number, said)));
    }
}

proptest! {
    #[test]
    fn what_the_edge_says_reads(request in edge_requests(), number: u32) {
        let frame = request.to_frame(number).unwrap();
        let read = EdgeRequest::from_frame(body(&frame));
        prop_assert_eq!(read, Ok((number, request)));
        // A worker that says it is not heard.
        prop_assert!(WorkerRequest::from_frame(body(&frame)).is_err());
    }

    #[test]
    fn what_a_worker_says_reads(request in worker_requests(), number: u32) {
        let frame = request.to_frame(number).unwrap();
        let read = WorkerRequest::from_frame(body(&frame));
        prop_assert_eq!(read, Ok((number, request)));
        prop_assert!(EdgeRequest::from_frame(body(&frame)).is_err());
    }

    #[test]
    fn a_cut_frame_does_not_read(request in worker_requests(), cut: prop::sample::Index) {
        let frame = request.to_frame(7).unwrap();
        let whole = body(&frame);
        let cut = cut.index(whole.len());
        prop_assert!(WorkerRequest::from_frame(&whole[..cut]).is_err());
        prop_assert!(WorkerRequest::from_frame(&[whole, b"x"].concat()).is_err());
    }

    #[test]
    fn random_octets_do_not_panic(mut octets in vec(any::<u8>(), 6..300), kind in 0..40_u8) {
        octets[0] = VERSION;
        octets[5] = kind;
        reads_as_written(&octets, EdgeRequest::from_frame, |said, number| {
            said.to_frame(number).unwrap()
        });
        reads_as_written(&octets, WorkerRequest::from_frame, |said, number| {
            said.to_frame(number).unwrap()
        });
        reads_as_written(&octets, Answer::from_frame, |said, number| {
            said.to_frame(number).unwrap().expose().to_vec()
        });
    }
}

#[test]
fn answers_read() {
    let (key, _) = generated();
    for answer in [
        Answer::Done,
        Answer::Key(Secret::new(vec![7; 32])),
        Answer::Signature(vec![8; 512]),
        Answer::Facts(Box::new(facts(&key))),
        Answer::NoMore,
        Answer::Refused(Refusal::NotGranted),
        Answer::Refused(Refusal::TooManyFailures),
        Answer::Refused(Refusal::Failed),
        Answer::Refused(Refusal::Busy),
        Answer::Refused(Refusal::Unavailable),
    ] {
        let frame = answer.to_frame(9).unwrap();
        assert_eq!(Answer::from_frame(body(frame.expose())), Ok((9, answer)));
    }
    assert!(!format!("{:?}", Answer::Key(Secret::new(vec![7; 32]))).contains("7, 7"));
}

#[test]
fn what_is_out_of_bounds_is_neither_written_nor_read() {
    let transaction = Transaction([1; 16]);
    let recipient = Address::parse("alice@example.com").unwrap();
    let grant = |count| {
        EdgeRequest::Grant(Grant {
            transaction,
            tenant: "default".to_owned(),
            recipients: vec![recipient.clone(); count],
            sender: None,
            client: None,
            seconds: 60,
        })
    };
    assert!(grant(MAX_RECIPIENTS).to_frame(0).is_ok());
    assert_eq!(grant(MAX_RECIPIENTS + 1).to_frame(0), Err(TooLong));
    let sign = |length| {
        WorkerRequest::Sign(Sign {
            transaction,
            key: KeyId::from_octets([2; 16]),
            algorithm: SignatureAlgorithm::Ed25519,
            attributes: vec![0; length],
        })
    };
    assert!(sign(MAX_ATTRIBUTES).to_frame(0).is_ok());
    assert_eq!(sign(MAX_ATTRIBUTES + 1).to_frame(0), Err(TooLong));
    let release = EdgeRequest::Release(transaction).to_frame(0).unwrap();
    let mut later = body(&release).to_vec();
    later[0] = 2;
    assert!(EdgeRequest::from_frame(&later).is_err());
    assert!(EdgeRequest::from_frame(&vec![1; MAX_FRAME + 1]).is_err());
}

/// A content-encryption key of 64 KiB would be an oracle of its own; none at all says nothing.
#[test]
fn the_length_of_a_content_key_is_bounded() {
    for (length, reads) in [
        (0, false),
        (1, true),
        (64, true),
        (65, false),
        (u32::MAX, false),
    ] {
        let request = WorkerRequest::Unwrap(Unwrap {
            transaction: Transaction([1; 16]),
            recipient: Address::parse("alice@example.com").unwrap(),
            key: KeyId::from_octets([2; 16]),
            length,
            wrapped: Wrapped {
                wrapping: Wrapping::Kem {
                    kdf: Kdf::Hkdf(DigestAlgorithm::Sha256),
                    wrap: KeyWrap::Aes(Aes::Bits256),
                    info: Vec::new(),
                },
                encrypted_key: Vec::new(),
                peer: Vec::new(),
            },
        });
        let frame = request.to_frame(0).unwrap();
        let read = WorkerRequest::from_frame(body(&frame));
        assert_eq!(read.is_ok(), reads, "{length}");
    }
}
