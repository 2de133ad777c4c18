//! authorityInfoAccess: where an authority answers.

use super::*;

fn with_access(value: &[u8]) -> Certificate {
    let key = key();
    builder(&key)
        .extension(oid::AUTHORITY_INFO_ACCESS, false, value)
        .self_signed(&key)
        .unwrap()
}

fn description(method: Oid<'_>, tag: u8, location: &[u8]) -> Vec<u8> {
    write::seq(&[write::oid(method), write::element(tag, location)])
}

#[test]
fn all_places_are_read() {
    let ocsp = description(oid::AD_OCSP, 0x86, b"http://ocsp.example/");
    let issuer = description(oid::AD_CA_ISSUERS, 0x86, b"http://ca.example/ca.cer");
    let read = with_access(&write::seq(&[ocsp, issuer]))
        .authority_info_access()
        .unwrap();
    let [one, two] = &read[..] else {
        panic!("{read:?}")
    };
    assert_eq!(one.method, oid::AD_OCSP);
    let place = GeneralName::Uri("http://ocsp.example/".into());
    assert_eq!(one.location, place);
    assert_eq!(two.method, oid::AD_CA_ISSUERS);
}

#[test]
fn absent_is_none_and_unreadable_is_an_error() {
    let key = key();
    let plain = builder(&key).self_signed(&key).unwrap();
    assert_eq!(plain.authority_info_access(), Ok(Vec::new()));
    let method = write::oid(oid::AD_OCSP);
    for bad in [
        write::null(),
        write::seq::<Vec<u8>>(&[]),
        write::seq(&[write::seq(std::slice::from_ref(&method))]),
        write::seq(&[description(oid::AD_OCSP, 0x86, &[0xff])]),
    ] {
        let error = with_access(&bad).authority_info_access().unwrap_err();
        assert_eq!(error.field, "authorityInfoAccess");
    }
}
