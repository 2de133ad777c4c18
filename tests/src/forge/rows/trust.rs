//! SIG-23: chains that must not be believed.

use super::super::Expect::{self, Is, OneOf};
use super::super::Shape;
use super::super::certificates::{
    Authority, CertificateForm, Person, SERVER_AUTH, alt_names, basic_constraints, ext_key_usage,
    extension, key_usage, name_constraints, rfc822,
};
use super::super::cms::detached;
use super::super::der::{null, time};
use super::super::keys::Key;
use super::super::mime::{clear_signed, headers, text};
use super::super::town::Town;

const VICTIM: &str = "victim@example.jp";

fn mail(person: &Person, chain: &[&[u8]]) -> Vec<u8> {
    let part = text("Do you trust me?");
    clear_signed(&headers(VICTIM), &part, &detached(person, chain, &part))
}

/// SIG-23: every reason not to trust a certificate.
pub fn sig23(town: &Town) -> Vec<Shape> {
    let key = Key::p256();
    let ca = &town.issuer;
    let shape = |name: &str, raw: Vec<u8>, expect: Expect| Shape::new("SIG-23", name, raw, expect);
    let leaf = |change: &dyn Fn(&mut CertificateForm)| {
        let mut form = ca.person_form("Victim", VICTIM, &key);
        change(&mut form);
        ca.issue(&form, key.clone())
    };
    let pass = || Is("pass", "ok");
    let stranger = || Is("policy", "issuer-not-trusted");
    let usage = || Is("policy", "key-usage");
    let invalid = || Is("fail", "path-invalid");
    let mut out = Vec::new();
    let honest = ca.person("Victim", VICTIM, key.clone());
    out.push(shape(
        "good: chain sent",
        mail(&honest, &town.chain()),
        pass(),
    ));
    out.push(shape(
        "good: chain not sent, intermediate known",
        mail(&honest, &[]),
        pass(),
    ));
    out.push(shape(
        "good: root sent too",
        mail(&honest, &[&ca.certificate, &town.root.certificate]),
        pass(),
    ));

    // Nobody vouches.
    let mut form = ca.person_form("Victim", VICTIM, &key);
    form.issuer = form.subject.clone();
    let own = Person {
        certificate: form.issue(&key),
        issuer: form.issuer.clone(),
        serial: form.serial.clone(),
        key: key.clone(),
    };
    out.push(shape("self-signed", mail(&own, &[]), stranger()));
    let strange = town.strange_root.person("Victim", VICTIM, key.clone());
    out.push(shape("unknown root", mail(&strange, &[]), stranger()));
    out.push(shape(
        "unknown root sent along",
        mail(&strange, &[&town.strange_root.certificate]),
        stranger(),
    ));
    let twin_root = Authority::root("Kenin Test Root");
    let twin = twin_root
        .below("Kenin Test Issuer")
        .person("Victim", VICTIM, key.clone());
    out.push(shape(
        "root of the same name",
        mail(&twin, &[&twin_root.certificate]),
        OneOf(&[("policy", "issuer-not-trusted"), ("fail", "path-invalid")]),
    ));

    // Authorities that are none.
    let not_ca = ca.person("Bob", "bob@example.jp", Key::p256());
    let fake = Authority {
        name: super::super::certificates::cn("Bob"),
        key: not_ca.key.clone(),
        certificate: not_ca.certificate.clone(),
    };
    let below_leaf = fake.person("Victim", VICTIM, key.clone());
    let no_ca = || OneOf(&[("fail", "path-invalid"), ("policy", "issuer-not-trusted")]);
    out.push(shape(
        "a person as authority",
        mail(&below_leaf, &[&fake.certificate, &ca.certificate]),
        no_ca(),
    ));
    let child = |name: &str, change: &dyn Fn(&mut CertificateForm)| {
        let key = Key::p256();
        let mut form = town.root.authority_form(name, &key);
        change(&mut form);
        town.root.authority(&form, key)
    };
    for (name, change) in [
        (
            "authority without basicConstraints",
            &(|f: &mut CertificateForm| {
                f.extensions.remove(0);
            }) as &dyn Fn(&mut CertificateForm),
        ),
        ("authority with cA false", &|f| {
            f.extensions[0] = basic_constraints(false, None)
        }),
        ("authority without keyCertSign", &|f| {
            f.extensions[1] = key_usage(0x82)
        }),
        ("authority with an unknown critical extension", &|f| {
            f.extensions
                .push(extension("1.3.6.1.4.1.99999.9", true, &null()))
        }),
    ] {
        let authority = child(name, change);
        let person = authority.person("Victim", VICTIM, key.clone());
        out.push(
            shape(name, mail(&person, &[&authority.certificate]), no_ca()).crl(authority.crl(&[])),
        );
    }
    let short = child("Path length zero", &|f| {
        f.extensions[0] = basic_constraints(true, Some(0))
    });
    let under = short.below("Below path length zero");
    let person = under.person("Victim", VICTIM, key.clone());
    out.push(
        shape(
            "path length exceeded",
            mail(&person, &[&under.certificate, &short.certificate]),
            no_ca(),
        )
        .crl(short.crl(&[]))
        .crl(under.crl(&[])),
    );
    let person = short.person("Victim", VICTIM, key.clone());
    out.push(
        shape(
            "good: path length kept",
            mail(&person, &[&short.certificate]),
            pass(),
        )
        .crl(short.crl(&[])),
    );

    // Time.
    let past = child("Old authority", &|f| f.not_after = time("20240101000000Z"));
    let person = past.person("Victim", VICTIM, key.clone());
    out.push(
        shape(
            "expired intermediate",
            mail(&person, &[&past.certificate]),
            Is("fail", "certificate-expired"),
        )
        .crl(past.crl(&[])),
    );
    let future = child("Young authority", &|f| {
        f.not_before = time("20400101000000Z")
    });
    let person = future.person("Victim", VICTIM, key.clone());
    out.push(
        shape(
            "intermediate not yet valid",
            mail(&person, &[&future.certificate]),
            Is("fail", "certificate-not-yet-valid"),
        )
        .crl(future.crl(&[])),
    );
    let person = leaf(&|f| f.not_after = time("20240101000000Z"));
    out.push(shape(
        "expired",
        mail(&person, &town.chain()),
        Is("fail", "certificate-expired"),
    ));
    let person = leaf(&|f| f.not_before = time("20400101000000Z"));
    out.push(shape(
        "not yet valid",
        mail(&person, &town.chain()),
        Is("fail", "certificate-not-yet-valid"),
    ));
    let person = leaf(&|f| f.not_after = time("20260531235959Z"));
    out.push(shape(
        "expired a second ago",
        mail(&person, &town.chain()),
        Is("fail", "certificate-expired"),
    ));
    let person = leaf(&|f| f.not_after = time("20260601000000Z"));
    out.push(shape(
        "good: expires now",
        mail(&person, &town.chain()),
        pass(),
    ));

    // Use.
    let person = leaf(&|f| f.extensions[2] = ext_key_usage(&[SERVER_AUTH]));
    out.push(shape(
        "for servers only",
        mail(&person, &town.chain()),
        usage(),
    ));
    let person = leaf(&|f| f.extensions[2] = ext_key_usage(&["2.5.29.37.0"]));
    out.push(shape(
        "good: for any purpose",
        mail(&person, &town.chain()),
        pass(),
    ));
    let person = leaf(&|f| {
        f.extensions.remove(2);
    });
    out.push(shape(
        "good: no extended key usage",
        mail(&person, &town.chain()),
        pass(),
    ));
    let person = leaf(&|f| f.extensions[1] = key_usage(0x20));
    out.push(shape(
        "for encryption only",
        mail(&person, &town.chain()),
        usage(),
    ));
    let person = leaf(&|f| f.extensions[1] = key_usage(0x40));
    out.push(shape(
        "good: nonRepudiation suffices",
        mail(&person, &town.chain()),
        pass(),
    ));
    let person = leaf(&|f| {
        f.extensions.remove(1);
    });
    out.push(shape(
        "good: no key usage",
        mail(&person, &town.chain()),
        pass(),
    ));
    let person = leaf(&|f| {
        f.extensions
            .push(extension("1.3.6.1.4.1.99999.9", true, &null()))
    });
    out.push(shape(
        "unknown critical extension",
        mail(&person, &town.chain()),
        invalid(),
    ));
    let person = leaf(&|f| {
        f.extensions.remove(0);
    });
    out.push(shape(
        "no address",
        mail(&person, &town.chain()),
        Is("policy", "from-mismatch"),
    ));

    // Names.
    for (name, permitted, excluded, expect) in [
        (
            "constrained to another domain",
            vec![rfc822(b"evil.example")],
            vec![],
            invalid(),
        ),
        (
            "address excluded",
            vec![],
            vec![rfc822(b"victim@example.jp")],
            invalid(),
        ),
        (
            "host excluded",
            vec![],
            vec![rfc822(b"example.jp")],
            invalid(),
        ),
        (
            "constrained to a subdomain",
            vec![rfc822(b".example.jp")],
            vec![],
            invalid(),
        ),
        (
            "good: constrained to the domain",
            vec![rfc822(b"example.jp")],
            vec![],
            pass(),
        ),
        (
            "good: constrained to the address",
            vec![rfc822(b"victim@example.jp")],
            vec![],
            pass(),
        ),
    ] {
        let authority = child(name, &|f| {
            f.extensions.push(name_constraints(&permitted, &excluded))
        });
        let person = authority.person("Victim", VICTIM, key.clone());
        out.push(
            shape(name, mail(&person, &[&authority.certificate]), expect).crl(authority.crl(&[])),
        );
    }
    let narrow = child("Constrained, two addresses", &|f| {
        f.extensions
            .push(name_constraints(&[rfc822(b"example.jp")], &[]))
    });
    let mut form = narrow.person_form("Victim", VICTIM, &key);
    form.extensions[0] = alt_names(&[rfc822(VICTIM.as_bytes()), rfc822(b"x@evil.example")]);
    let person = narrow.issue(&form, key.clone());
    out.push(
        shape(
            "one of two addresses is outside",
            mail(&person, &[&narrow.certificate]),
            invalid(),
        )
        .crl(narrow.crl(&[])),
    );

    // Signatures in the chain.
    let mut broken = honest.clone();
    let at = broken.certificate.len() - 4;
    broken.certificate[at] ^= 1;
    out.push(shape(
        "certificate's signature broken",
        mail(&broken, &town.chain()),
        OneOf(&[("fail", "path-invalid"), ("policy", "issuer-not-trusted")]),
    ));

    // Revocation.
    let revoked = town.issuer.person("Victim", VICTIM, key.clone());
    let list = town.issuer.crl(&[&revoked.serial]);
    let without = |mut shape: Shape| {
        shape.extra.no_crls = true;
        shape
    };
    let root_list = || town.root.crl(&[]);
    let unavailable = || Is("temperror", "revocation-unavailable");
    out.push(without(
        shape(
            "revoked",
            mail(&revoked, &town.chain()),
            Is("fail", "revoked"),
        )
        .crl(list.clone())
        .crl(root_list()),
    ));
    out.push(without(shape(
        "no revocation list at all",
        mail(&honest, &town.chain()),
        unavailable(),
    )));
    out.push(without(
        shape(
            "no list of the issuer",
            mail(&honest, &town.chain()),
            unavailable(),
        )
        .crl(root_list()),
    ));
    let stale = ca.crl_between(&[], "20210101000000Z", Some("20220101000000Z"));
    out.push(without(
        shape("stale list", mail(&honest, &town.chain()), unavailable())
            .crl(stale)
            .crl(root_list()),
    ));
    let early = ca.crl_between(&[], "20400101000000Z", Some("20410101000000Z"));
    out.push(without(
        shape(
            "list of the future",
            mail(&honest, &town.chain()),
            unavailable(),
        )
        .crl(early)
        .crl(root_list()),
    ));
    let mut forged = ca.crl(&[]);
    let at = forged.len() - 4;
    forged[at] ^= 1;
    out.push(without(
        shape(
            "list with a broken signature",
            mail(&honest, &town.chain()),
            unavailable(),
        )
        .crl(forged)
        .crl(root_list()),
    ));
    let twin_list = Authority {
        name: ca.name.clone(),
        key: Key::p256(),
        certificate: Vec::new(),
    }
    .crl(&[]);
    out.push(without(
        shape(
            "list of a namesake",
            mail(&honest, &town.chain()),
            unavailable(),
        )
        .crl(twin_list)
        .crl(root_list()),
    ));
    let gone = child("Revoked authority", &|_| {});
    let serial = {
        // The serial number stands behind `[0] version`: 30 len 30 len a0 03 02 01 02 02 len …
        let der = &gone.certificate;
        let at = der
            .windows(5)
            .position(|w| w == [0xa0, 3, 2, 1, 2])
            .unwrap()
            + 5;
        der[at + 2..at + 2 + usize::from(der[at + 1])].to_vec()
    };
    let person = gone.person("Victim", VICTIM, key.clone());
    let raw = mail(&person, &[&gone.certificate]);
    out.push(without(
        shape("revoked authority", raw.clone(), Is("fail", "revoked"))
            .crl(gone.crl(&[]))
            .crl(town.root.crl(&[&serial])),
    ));
    out.push(without(
        shape("revocation off", raw, pass()).option("--revocation=off"),
    ));
    let raw = mail(&revoked, &town.chain());
    out.push(without(
        shape("revoked, status if available", raw, Is("fail", "revoked"))
            .crl(list)
            .option("--revocation=if-available"),
    ));
    let raw = mail(&honest, &town.chain());
    out.push(without(
        shape("good: no list, status if available", raw, pass())
            .option("--revocation=if-available"),
    ));
    out
}
