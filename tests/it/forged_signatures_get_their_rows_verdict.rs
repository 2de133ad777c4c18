//! Every row SIG-01 to SIG-23 of the threat model: its shapes made by the forger, judged by
//! `kenin verify`, each with its row's verdict and reason.

use kenin_tests::forge::Town;
use kenin_tests::forge::rows::{self, ROWS};
use kenin_tests::kenin::kenin;
use kenin_tests::verify;
use kenin_tests::world::Folder;

fn row(id: &str, at_least: usize) {
    let town = Town::get();
    let (_, make) = ROWS.iter().find(|(name, _)| *name == id).unwrap();
    let shapes = make(town);
    assert!(shapes.len() >= at_least, "{id} has {} shapes", shapes.len());
    let wrong = verify::judge(town, &shapes);
    assert!(
        wrong.is_empty(),
        "{} of {} shapes of {id}:\n{}",
        wrong.len(),
        shapes.len(),
        wrong.join("\n")
    );
}

macro_rules! rows {
    ($($name:ident: $id:literal, $at_least:literal;)*) => {
        $(#[test] fn $name() { row($id, $at_least); })*
        #[test]
        fn every_row_has_a_test() {
            let tested = [$($id),*];
            assert!(ROWS.iter().all(|(id, _)| tested.contains(id)));
        }
    };
}

rows! {
    two_contents: "SIG-01", 8;
    no_signed_attributes: "SIG-02", 9;
    several_signers: "SIG-04", 40;
    no_signers: "SIG-05", 9;
    wrong_labels: "SIG-06", 6;
    broken_attributes: "SIG-07", 20;
    attributes_not_der: "SIG-08", 13;
    algorithms: "SIG-09", 35;
    mathematics: "SIG-10", 60;
    unsigned_attributes: "SIG-11", 27;
    substituted_certificates: "SIG-12", 20;
    signatures_below_the_root: "SIG-13", 25;
    odd_multiparts: "SIG-14", 40;
    from_of_another: "SIG-15", 13;
    ambiguous_from: "SIG-16", 38;
    not_one_from: "SIG-17", 26;
    addresses_in_certificates: "SIG-18", 30;
    protected_headers: "SIG-19", 30;
    absurd_signing_times: "SIG-20", 15;
    canonical_form: "SIG-21", 35;
    absurd_lengths: "SIG-22", 20;
    untrusted_chains: "SIG-23", 40;
}

/// SIG-05: what nobody signed is called signed nowhere: not for people, not for programs.
#[test]
fn nobody_signed_is_never_called_signed() {
    let town = Town::get();
    let folder = Folder::new();
    let trust = town.write(folder.path());
    for (n, shape) in rows::sig05(town).iter().enumerate() {
        let file = folder.join(format!("{n}.eml"));
        std::fs::write(&file, &shape.raw).unwrap();
        let file = file.display().to_string();
        let options = verify::options(&trust, true);
        for command in [
            &["verify", "--format", "text"][..],
            &["verify", "--format", "json"],
            &["explain"],
        ] {
            let mut arguments: Vec<&str> = command.to_vec();
            arguments.extend(options.iter().map(String::as_str));
            arguments.push(&file);
            let output = kenin(&arguments);
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(1), "{command:?}: {text}");
            assert!(
                !text.contains("Signature valid") && !text.contains("署名は有効"),
                "{text}"
            );
            assert!(
                !text.contains("signed/verified") && !text.contains("\"pass\""),
                "{text}"
            );
            assert!(text.contains("no-signers"), "{text}");
            println!("{text}");
        }
    }
}

/// Every shape can be explained: a tree, no panic, the same verdict.
#[test]
fn every_row_can_be_explained() {
    let town = Town::get();
    let folder = Folder::new();
    let trust = town.write(folder.path());
    let options = verify::options(&trust, true);
    for (row, make) in ROWS {
        for (n, shape) in make(town).iter().enumerate().step_by(9) {
            let file = folder.join(format!("{row}-{n}.eml"));
            std::fs::write(&file, &shape.raw).unwrap();
            let path = file.display().to_string();
            let mut arguments = vec!["explain"];
            arguments.extend(options.iter().map(String::as_str));
            arguments.push(&path);
            let output = kenin(&arguments);
            let text = String::from_utf8(output.stdout).unwrap();
            let talk = String::from_utf8_lossy(&output.stderr);
            assert!(
                matches!(output.status.code(), Some(0 | 1)),
                "{row} {}: {talk}",
                shape.name
            );
            let (said, _, _) = verify::verify(&options, &[&file]);
            assert!(
                text.contains(said[0].reason()),
                "{row} {}: {text}",
                shape.name
            );
        }
    }
}
