//! What Kenin passes, others pass too: `openssl cms` and `gpgsm` judge the same mails with the same root at the same
//! time. Whoever can judge a mail has to accept it before Kenin may. Where Kenin refuses what they accept, a list
//! beside the suites says why.
//!
//! The mails are made by dice from a fixed seed, with one deviation to three each, and from NIST PKITS. The others
//! run one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kenin_tests::forge::certificates::{AT, pem};
use kenin_tests::forge::deviations;
use kenin_tests::forge::draft::Roots;
use kenin_tests::forge::twin::Twins;
use kenin_tests::oracles::gpgsm::Gpgsm;
use kenin_tests::oracles::openssl_cms::OpenSsl;
use kenin_tests::oracles::{Judge, Trial};
use kenin_tests::verify::verify;
use kenin_tests::world::Folder;

use crate::pkits_shaped_chains_through_verify as pkits;
use crate::suites::{Exceptions, Outcome};

/// What everybody said of one mail: accepted, or why not.
struct Row<'t> {
    trial: &'t Trial,
    kenin: Result<(), String>,
    others: [(Judge, Result<(), String>); 2],
}

impl Row<'_> {
    /// What those said who can judge it.
    fn votes(&self) -> impl Iterator<Item = &(Judge, Result<(), String>)> {
        let abstaining = &self.trial.abstaining;
        self.others
            .iter()
            .filter(move |(judge, _)| !abstaining.contains(judge))
    }

    /// Whether it is to be accepted. Where Kenin refuses what is wrong and somebody agrees, it is not.
    fn is_good(&self) -> bool {
        let all_accept = self.votes().all(|(_, vote)| vote.is_ok());
        if self.kenin.is_ok() {
            all_accept && !self.trial.is_wrong
        } else {
            all_accept || !self.trial.is_wrong
        }
    }

    /// What the others said.
    fn words(&self) -> String {
        let words = self.votes().map(|(judge, vote)| match vote {
            Ok(()) => format!("    {judge:?} accepts it\n"),
            Err(words) => format!("    {judge:?} refuses it:\n{words}"),
        });
        words.collect()
    }
}

/// Kenin in one call for all, then the others, mail by mail.
fn hear<'t>(anchor: &[u8], trials: &'t [Trial]) -> Vec<Row<'t>> {
    let desk = Folder::new();
    let write = |name: String, bytes: &[u8]| {
        let file = desk.join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let root = pem("CERTIFICATE", anchor);
    let root = write("root.pem".to_owned(), root.as_bytes());
    let crls = desk.join("crls");
    std::fs::create_dir(&crls).unwrap();
    let lists: BTreeSet<&Vec<u8>> = trials.iter().flat_map(|trial| &trial.lists).collect();
    for (number, list) in lists.into_iter().enumerate() {
        write(format!("crls/{number}.crl"), list);
    }
    let mails: Vec<PathBuf> = trials
        .iter()
        .enumerate()
        .map(|(number, trial)| write(format!("{number:03}.eml"), &trial.mail))
        .collect();
    let options = [
        format!("--anchor={}", root.display()),
        format!("--crl={}", crls.display()),
        format!("--at={AT}"),
    ];
    let paths: Vec<&Path> = mails.iter().map(PathBuf::as_path).collect();
    let (said, _, talk) = verify(&options, &paths);
    assert!(!talk.contains("passed over"), "{talk}");

    let (openssl, gpgsm) = (OpenSsl::trusting(anchor), Gpgsm::trusting(anchor));
    trials
        .iter()
        .zip(said)
        .map(|(trial, said)| Row {
            trial,
            kenin: match said.result() {
                "pass" => Ok(()),
                result => Err(format!("{result} ({})", said.reason())),
            },
            others: [
                (Judge::OpenSsl, openssl.verify(trial)),
                (Judge::Gpgsm, gpgsm.verify(trial)),
            ],
        })
        .collect()
}

/// Fails where Kenin accepts what somebody refuses, and where it refuses alone without a reason in the list.
fn compare(rows: &[Row<'_>], exceptions: &Exceptions) {
    let differ = |row: &&Row<'_>| row.kenin.is_ok() != row.is_good();
    let accepted: Vec<String> = rows
        .iter()
        .filter(differ)
        .filter(|row| row.kenin.is_ok())
        .map(|row| {
            let (name, words) = (&row.trial.name, row.words());
            let wrong = if row.trial.is_wrong {
                ", it is wrong"
            } else {
                ""
            };
            format!("{name}: Kenin passes it{wrong}\n{words}")
        })
        .collect();
    assert!(
        accepted.is_empty(),
        "{} false accepts:\n{}",
        accepted.len(),
        accepted.join("\n")
    );
    let alone: Vec<String> = rows
        .iter()
        .filter(differ)
        .filter(|row| !exceptions.has(&row.trial.name))
        .map(|row| {
            let (name, words) = (&row.trial.name, row.words());
            let reason = row.kenin.as_ref().err().map_or("", String::as_str);
            format!("\"{name}\" = \"{reason}: why?\"\n{words}")
        })
        .collect();
    assert!(
        alone.is_empty(),
        "Kenin alone refuses {}. Who is right? Where Kenin is, the list needs these lines and the reasons:\n{}",
        alone.len(),
        alone.join("\n")
    );
    let outcomes: Vec<Outcome> = rows
        .iter()
        .map(|row| Outcome {
            name: row.trial.name.clone(),
            expected: row.is_good(),
            got: row.kenin.clone(),
        })
        .collect();
    let agree = exceptions.judge(&outcomes, true);
    println!("{agree} of {} agree", outcomes.len());
}

/// How often a judge who can judge accepts and refuses.
fn count(rows: &[Row<'_>], judge: Judge) -> (usize, usize) {
    let votes = rows.iter().flat_map(|row| row.votes());
    let own: Vec<bool> = votes
        .filter(|(who, _)| *who == judge)
        .map(|(_, vote)| vote.is_ok())
        .collect();
    let accepted = own.iter().filter(|vote| **vote).count();
    (accepted, own.len() - accepted)
}

#[test]
fn mails_made_by_dice() {
    let mut roots = Roots::new();
    let trials = deviations::trials(&mut roots);
    let rows = hear(roots.anchor(), &trials);
    compare(
        &rows,
        &Exceptions::parse(include_str!("suites/oracles-exceptions.toml")),
    );
    // Neither accepts everything, nor refuses everything.
    for judge in Judge::ALL {
        let (accepted, refused) = count(&rows, judge);
        println!("{judge:?} accepts {accepted}, refuses {refused}");
        assert!(
            accepted >= 60 && refused >= 60,
            "{judge:?} accepts {accepted}, refuses {refused}"
        );
    }
}

#[test]
fn the_paths_of_pkits() {
    let Some((suite, all)) = pkits::suite() else {
        return;
    };
    let vectors = pkits::with_default_inputs(&all);
    let twins = Twins::of(&suite);
    let mut lists: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for file in vectors.iter().flat_map(|v| pkits::files(v, "CRLPath")) {
        lists.entry(file).or_insert_with(|| twins.crl(file));
    }
    let trials: Vec<Trial> = vectors
        .iter()
        .map(|vector| {
            let number = pkits::number(vector);
            let files = pkits::files(vector, "CRLPath");
            let lists: Vec<Vec<u8>> = files.iter().map(|file| lists[file].clone()).collect();
            // A list by another than the certificate's issuer OpenSSL finds only in the message.
            let inside = if number.starts_with("4.14.") {
                &lists[..]
            } else {
                &[]
            };
            let signed = pkits::signed(&twins, vector, inside);
            Trial {
                name: vector["Name"].as_str().unwrap().to_owned(),
                mail: signed.mail,
                cms: signed.cms,
                content: Some(signed.content),
                lists,
                // OpenSSL would look for the address also in the certificate of a list's signer.
                from: None,
                is_wrong: vector["ShouldValidate"] == false,
                abstaining: abstaining(number),
            }
        })
        .collect();
    let anchor = twins.certificate(pkits::anchor(&vectors));
    let rows = hear(&anchor, &trials);
    compare(&rows, &Exceptions::parse("[exceptions]"));
}

/// Who refuses a valid path of the suite for what it cannot do.
fn abstaining(number: &str) -> Vec<Judge> {
    // Names are compared letter by letter; self-issued certificates count for the length of the path.
    let one_by_one = ["4.3.3", "4.3.4", "4.3.5", "4.3.11", "4.6.15", "4.6.17"];
    // Constraints of policies and of names are unknown.
    let sections = ["4.9.", "4.10.", "4.11.", "4.12.", "4.13."];
    let mut all = Vec::new();
    if one_by_one.contains(&number) || sections.iter().any(|start| number.starts_with(start)) {
        all.push(Judge::Gpgsm);
    }
    // The path of a list's signer goes another way than the certificate's.
    if number == "4.14.30" {
        all.push(Judge::OpenSsl);
    }
    all
}
