use proptest::prelude::*;

use super::*;
use crate::crypto::{DigestAlgorithm, KeyType, SignatureAlgorithm, SigningKey, SoftKey};
use crate::der::{context_constructed, write};
use crate::extension::{DistributionPointName, ReasonFlags};
use crate::issue::{CertificateBuilder, common_name};
use crate::name::NameBuilder;
use crate::oid::Oid;
use crate::testing;

mod access;
mod odd;

fn key() -> SoftKey {
    SoftKey::generate(KeyType::P256).unwrap()
}

fn builder(key: &SoftKey) -> CertificateBuilder {
    CertificateBuilder::new(common_name("Alice").unwrap(), key.public_key())
}

/// A certificate's three parts, so that a test can change the first.
fn with_tbs(certificate: &Certificate, change: impl Fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>) -> Vec<u8> {
    let mut outer = Reader::new(certificate.der()).sequence().unwrap();
    let mut tbs = outer.sequence().unwrap();
    let mut fields = Vec::new();
    while !tbs.is_empty() {
        fields.push(tbs.any().unwrap().raw.to_vec());
    }
    write::seq(&[&write::seq(&change(fields))[..], outer.rest()])
}

#[test]
fn all_extensions_survive_issuing_and_reading() {
    let (ca_key, key) = (key(), key());
    let ca = CertificateBuilder::new(common_name("CA").unwrap(), ca_key.public_key())
        .authority(Some(1))
        .self_signed(&ca_key)
        .unwrap();
    let names = vec![
        GeneralName::Rfc822("alice@example.org".into()),
        GeneralName::Dns("example.org".into()),
        GeneralName::Uri("https://example.org/".into()),
        GeneralName::Ip([192, 0, 2, 1].into()),
        GeneralName::Directory(common_name("Other").unwrap()),
        GeneralName::RegisteredId(oid::SHA256.to_buf()),
        GeneralName::smtp_utf8_mailbox("愛@例え.jp"),
        GeneralName::X400(write::null().into()),
        GeneralName::EdiParty(write::null().into()),
    ];
    let constraints = NameConstraints {
        permitted: vec![
            GeneralName::Rfc822("example.org".into()),
            GeneralName::Dns("example.org".into()),
        ],
        excluded: vec![GeneralName::Ip([10, 0, 0, 0, 255, 0, 0, 0].into())],
    };
    let points = vec![
        DistributionPoint {
            name: Some(DistributionPointName::Full(vec![GeneralName::Uri(
                "http://crl.example.org/1".into(),
            )])),
            reasons: Some(ReasonFlags(0b110)),
            crl_issuer: vec![GeneralName::Directory(common_name("CRL").unwrap())],
        },
        DistributionPoint {
            name: Some(DistributionPointName::Relative(
                write::seq(&[write::oid(oid::COMMON_NAME), write::utf8_string("x")]).into(),
            )),
            ..DistributionPoint::default()
        },
    ];
    let constraint = PolicyConstraints {
        require_explicit_policy: Some(0),
        inhibit_policy_mapping: Some(300),
    };
    let (p1, p2) = (
        OidBuf::from_dotted("1.2.3.4").unwrap(),
        OidBuf::from_dotted("1.2.3.5").unwrap(),
    );
    let certificate = builder(&key)
        .serial(&[0x80, 1])
        .validity(UnixTime(0), UnixTime(2_600_000_000))
        .basic_constraints(BasicConstraints {
            ca: false,
            path_len: None,
        })
        .key_usage(KeyUsage::DIGITAL_SIGNATURE | KeyUsage::DECIPHER_ONLY)
        .ext_key_usage(&[oid::EMAIL_PROTECTION, oid::CLIENT_AUTH])
        .subject_alt_names(&names)
        .name_constraints(&constraints)
        .policies(&[p1.as_oid(), oid::ANY_POLICY])
        .policy_mappings(&[(p1.as_oid(), p2.as_oid())])
        .policy_constraints(constraint)
        .inhibit_any_policy(2)
        .crl_distribution_points(&points)
        .extension(Oid::from_content(&[0x2a, 3]).unwrap(), true, b"\x05\x00")
        .issued_by(&ca, &ca_key)
        .unwrap();
    assert_eq!(certificate.version(), 3);
    assert_eq!(certificate.serial(), [0, 0x80, 1]);
    assert_eq!(certificate.serial_hex(), "8001", "as openssl prints it");
    assert_eq!(certificate.issuer(), ca.subject());
    assert_eq!(certificate.not_before(), Ok(UnixTime(0)));
    assert_eq!(certificate.not_after(), Ok(UnixTime(2_600_000_000)));
    assert_eq!(certificate.public_key(), key.public_key());
    assert_eq!(
        certificate.basic_constraints(),
        Ok(Some(&BasicConstraints::default()))
    );
    let usage = certificate.key_usage().unwrap().unwrap();
    assert_eq!(
        usage.0,
        KeyUsage::DIGITAL_SIGNATURE | KeyUsage::DECIPHER_ONLY
    );
    assert_eq!(
        certificate.ext_key_usage().unwrap().unwrap(),
        [oid::EMAIL_PROTECTION.to_buf(), oid::CLIENT_AUTH.to_buf()]
    );
    assert_eq!(certificate.subject_alt_names().unwrap().unwrap(), names);
    assert_eq!(certificate.name_constraints().unwrap(), Some(&constraints));
    let policies = certificate.policies().unwrap().unwrap();
    assert_eq!(
        policies
            .iter()
            .map(|p| p.policy.clone())
            .collect::<Vec<_>>(),
        [p1.clone(), oid::ANY_POLICY.to_buf()]
    );
    assert_eq!(
        certificate.policy_mappings().unwrap().unwrap(),
        [PolicyMapping {
            issuer: p1,
            subject: p2
        }]
    );
    assert_eq!(certificate.policy_constraints().unwrap(), Some(&constraint));
    assert_eq!(certificate.inhibit_any_policy(), Ok(Some(2)));
    assert_eq!(
        certificate.crl_distribution_points().unwrap().unwrap(),
        points
    );
    assert_eq!(
        certificate.unknown_critical(),
        [OidBuf::from_dotted("1.2.3").unwrap()]
    );
    let authority = certificate.authority_key_id().unwrap().unwrap();
    assert_eq!(authority.key_id.as_deref(), ca.subject_key_id().unwrap());
    assert_eq!(certificate.verify_signature(ca.public_key()), Ok(()));
    assert_eq!(
        certificate.verify_signature(key.public_key()),
        Err(VerifyError::BadSignature)
    );
    let addresses: Vec<_> = certificate
        .addresses()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["alice@example.org", "愛@xn--r8jz45g.jp"]);
    assert!(!certificate.is_self_issued() && ca.is_self_issued());
    assert!(!certificate.is_self_signed() && ca.is_self_signed());
}

#[test]
fn inner_and_outer_algorithm_must_be_the_same() {
    let key = key();
    let good = builder(&key).self_signed(&key).unwrap();
    let der = with_tbs(&good, |mut fields| {
        fields[2] = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha512)
            .to_identifier()
            .to_der();
        fields
    });
    let odd = Certificate::from_der(&der).unwrap();
    assert_eq!(
        odd.verify_signature(key.public_key()),
        Err(VerifyError::Mismatch)
    );
}

#[test]
fn what_is_not_der_is_refused() {
    let key = key();
    let good = builder(&key).self_signed(&key).unwrap();
    let der = good.der();
    assert!(Certificate::from_der(&[der, &[0]].concat()).is_err());
    assert!(Certificate::from_der(&der[..der.len() - 1]).is_err());
    assert!(Certificate::from_der(&[&[0x30, 0x80], &der[4..], &[0, 0]].concat()).is_err());
    // A serial that is not minimal could hide from a CRL.
    let padded = with_tbs(&good, |mut fields| {
        fields[1] = write::element(0x02, &[0, 0, 5]);
        fields
    });
    assert!(Certificate::from_der(&padded).is_err());
}

#[test]
fn addresses_that_pretend_are_left_out() {
    let key = key();
    let certificate = builder(&key)
        .subject_alt_names(&[
            GeneralName::Rfc822("Alice <alice@example.org>".into()),
            GeneralName::Rfc822("example.org".into()),
            // RFC 9598 §3: an ASCII local part belongs in rfc822Name, where constraints see it.
            GeneralName::smtp_utf8_mailbox("victim@example.org"),
            GeneralName::Other {
                oid: oid::SMTP_UTF8_MAILBOX.to_buf(),
                value: write::ia5_string("é@b.c").into(),
            },
            GeneralName::Rfc822("real@example.org".into()),
        ])
        .self_signed(&key)
        .unwrap();
    let addresses: Vec<_> = certificate
        .addresses()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["real@example.org"]);

    let subject = NameBuilder::default()
        .with(oid::EMAIL_ADDRESS, "dn@example.org")
        .with(oid::COMMON_NAME, "cn@example.org");
    let old = CertificateBuilder::new(subject.build().unwrap(), key.public_key())
        .self_signed(&key)
        .unwrap();
    assert!(old.addresses().unwrap().is_empty());
    assert_eq!(
        old.subject_addresses()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["dn@example.org"]
    );
}

#[test]
fn files_of_every_form_read() {
    let key = key();
    let one = builder(&key).self_signed(&key).unwrap();
    let two = builder(&key).serial(&[7]).self_signed(&key).unwrap();
    let both = vec![one.clone(), two.clone()];
    let pem = |certificate: &Certificate| crate::pem::encode("CERTIFICATE", certificate.der());
    let set = write::element(context_constructed(0), &[one.der(), two.der()].concat());
    let data = write::seq(&[write::oid(oid::CMS_DATA)]);
    let signed_data = write::seq(&[
        write::integer(1),
        write::set_of::<Vec<u8>>(&[]),
        data,
        set,
        write::set_of::<Vec<u8>>(&[]),
    ]);
    let pkcs7 = write::seq(&[
        write::oid(oid::CMS_SIGNED_DATA),
        write::explicit(0, &signed_data),
    ]);
    let streamed = [
        &[0x30, 0x80],
        &write::oid(oid::CMS_SIGNED_DATA)[..],
        &[0xa0, 0x80],
        &signed_data,
        &[0; 4],
    ]
    .concat();
    for file in [
        format!("text\n{}{}", pem(&one), pem(&two)).into_bytes(),
        [one.der(), two.der()].concat(),
        crate::pem::encode("PKCS7", &pkcs7).into_bytes(),
        pkcs7,
        streamed,
    ] {
        assert_eq!(Certificate::from_pem_or_der_many(&file).unwrap(), both);
    }
    let noise = crate::pem::encode("PRIVATE KEY", b"x");
    assert_eq!(
        Certificate::from_pem_or_der_many(noise.as_bytes()).unwrap_err(),
        CertificateError::Empty
    );
    for bad in [
        &b""[..],
        b"hello",
        b"\x30\x00",
        &[one.der(), b"\n"].concat(),
    ] {
        assert!(Certificate::from_pem_or_der_many(bad).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Certificate::from_der(&bytes);
        let _ = Certificate::from_pem_or_der_many(&bytes);
    }

    #[test]
    fn mutated_certificates_do_not_panic(at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = SAMPLE.with(|sample| sample.der().to_vec());
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(certificate) = Certificate::from_der(&bytes) {
            let _ = (certificate.addresses(), certificate.subject().to_string(), certificate.sha256());
            let _ = certificate.verify_signature(certificate.public_key());
        }
        let cut = cut.index(bytes.len());
        prop_assert!(Certificate::from_der(&bytes[..cut]).is_err());
    }
}

thread_local! {
    static SAMPLE: Certificate = {
        let key = key();
        builder(&key)
            .mail_signer(&["alice@example.org", "愛@example.org"])
            .name_constraints(&NameConstraints { permitted: vec![GeneralName::Dns("a".into())], excluded: Vec::new() })
            .policy_constraints(PolicyConstraints { require_explicit_policy: Some(1), inhibit_policy_mapping: None })
            .self_signed(&key)
            .unwrap()
    };
}

/// Every certificate of the suites reads, and verifies with the key of an issuer among them, where the
/// algorithm is supported and the file is not wrong on purpose.
#[test]
fn certificates_of_the_suites_read_and_verify() {
    let folders = ["pkits", "jpki", "rfc9216", "rfc4134"];
    let Some(files) = testing::data_files(&folders, &["crt", "cer", "pem", "der"]) else {
        return;
    };
    let mut all = Vec::new();
    for (path, bytes) in files {
        match Certificate::from_pem_or_der_many(&bytes) {
            Ok(certificates) => {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                all.extend(
                    certificates
                        .into_iter()
                        .map(|certificate| (name.clone(), certificate)),
                );
            }
            // Files of CRLs and keys have these endings too.
            Err(CertificateError::Empty) => {}
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    let mut wrong = Vec::new();
    for (name, certificate) in &all {
        assert_eq!(
            Name::from_der(certificate.subject().der()).unwrap(),
            *certificate.subject()
        );
        assert_eq!(unreadable(certificate), None, "{name}");
        let algorithm = SignatureAlgorithm::from_identifier(certificate.signature_algorithm());
        if algorithm.is_err() {
            println!("{name}: {algorithm:?}");
            continue;
        }
        let verified = all
            .iter()
            .filter(|(_, issuer)| issuer.subject() == certificate.issuer())
            .any(|(_, issuer)| {
                let own = issuer.public_key();
                let above = all.iter().map(|(_, above)| above);
                let above = above.filter(|above| above.subject() == issuer.issuer());
                let mut keys = above.filter_map(|above| own.inheriting(above.public_key()));
                certificate.verify_signature(own).is_ok()
                    || keys.any(|key| certificate.verify_signature(&key).is_ok())
            });
        if !verified {
            wrong.push(name.as_str());
        }
    }
    println!("{} certificates", all.len());
    assert!(all.len() >= 420, "{}", all.len());
    assert_eq!(wrong, WRONG);
}

/// The first field that does not read.
fn unreadable(certificate: &Certificate) -> Option<FieldError> {
    [
        certificate.not_before().err(),
        certificate.not_after().err(),
        certificate.basic_constraints().err(),
        certificate.key_usage().err(),
        certificate.ext_key_usage().err(),
        certificate.subject_key_id().err(),
        certificate.authority_key_id().err(),
        certificate.subject_alt_names().err(),
        certificate.name_constraints().err(),
        certificate.policies().err(),
        certificate.policy_mappings().err(),
        certificate.policy_constraints().err(),
        certificate.inhibit_any_policy().err(),
        certificate.crl_distribution_points().err(),
    ]
    .into_iter()
    .flatten()
    .next()
}

/// Signatures and names that are bad on purpose, and certificates whose issuer is not among the files.
const WRONG: [&str; 9] = [
    "BadSignedCACert.crt",
    "InvalidDSASignatureTest6EE.crt",
    "InvalidEESignatureTest3EE.crt",
    "InvalidNameChainingOrderTest2EE.crt",
    "InvalidNameChainingTest1EE.crt",
    "lamps-alice.crt",
    "lamps-bob.encrypt.crt",
    "lamps-carlos.crt",
    "lamps-dana.encrypt.crt",
];

#[test]
fn what_was_read_before_is_the_same_certificate() {
    let memo = Memo::default();
    let key = key();
    let der = builder(&key).self_signed(&key).unwrap().der().to_vec();
    let first = memo.from_der(&der).unwrap();
    let again = memo.from_der(&der).unwrap();
    assert_eq!(first.der().as_ptr(), again.der().as_ptr(), "read once");
    assert_eq!(first.der(), der);
    let mut other = der;
    let last = other.len() - 1;
    other[last] ^= 1;
    assert_ne!(memo.from_der(&other).unwrap().sha256(), first.sha256());
    assert!(memo.from_der(&other[1..]).is_err());
}
