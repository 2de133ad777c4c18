//! Verdicts that do not come from looking at the message: it could not be looked at, or the clock
//! that every check of a certificate rests on cannot be right.

use kenin_policy::verdict::Verdict;
use kenin_policy::{Reason, header, mailbox};

use crate::clock::Trust;

/// The verdict on a message that was not examined. Who it says it is from is read all the same, for
/// the mail rules.
pub(crate) fn unexamined(reason: Reason, raw: &[u8]) -> Verdict {
    Verdict {
        from: mailbox::from_field(raw, &header::scan(raw)).addresses,
        ..verdict(reason)
    }
}

fn verdict(reason: Reason) -> Verdict {
    Verdict {
        result: Some(reason.result()),
        reason: Some(reason),
        from: Vec::new(),
        signatures: Vec::new(),
        encryption: Vec::new(),
        layers: Vec::new(),
        notes: Vec::new(),
        detail: None,
        revision: String::new(),
    }
}

/// Takes back what was said of signatures when the time cannot be right: a clock of the past
/// makes expired certificates and stale lists good, one of the future what is not valid yet.
pub(crate) fn unless_clock_is_trusted(mut verdict: Verdict, clock: Trust) -> Verdict {
    if clock.is_trusted() {
        return verdict;
    }
    let reason = Reason::ClockNotTrusted;
    for signature in &mut verdict.signatures {
        signature.result = reason.result();
        signature.reason = reason;
        // What stands below the root never makes the result.
        if signature.root {
            verdict.result = Some(reason.result());
            verdict.reason = Some(reason);
        }
    }
    verdict
}

#[cfg(test)]
pub(crate) mod tests {
    use kenin_policy::verdict::{Checks, SignatureVerdict};
    use kenin_policy::{Disclosure, ResultWord};

    use super::*;

    /// A signature that passed, of a signer who is not told.
    pub(crate) fn signed() -> Verdict {
        let mut one = verdict(Reason::Ok);
        one.signatures.push(SignatureVerdict {
            section: "2".to_owned(),
            root: true,
            within: Vec::new(),
            result: ResultWord::Pass,
            reason: Reason::Ok,
            checks: Checks::UNCHECKED,
            signer: None,
            digest: None,
            algorithm: None,
            signing_time: None,
            detail: None,
            notes: Vec::new(),
            path: Vec::new(),
            anchor: None,
            status: Vec::new(),
            status_as_of: None,
            revoked: None,
            disclosure: Disclosure::Full,
            signers: 1,
            traces: Vec::new(),
        });
        one
    }

    #[test]
    fn an_impossible_clock_passes_nothing() {
        for clock in [
            Trust::TooEarly,
            Trust::TooLate,
            Trust::BeforeMark,
            Trust::Jumped,
        ] {
            let verdict = unless_clock_is_trusted(signed(), clock);
            assert_eq!(verdict.reason, Some(Reason::ClockNotTrusted));
            assert_eq!(verdict.result, Some(ResultWord::TempError));
            assert_eq!(verdict.signatures[0].result, ResultWord::TempError);
        }
        assert!(unless_clock_is_trusted(signed(), Trust::Yes).is_pass());
    }

    #[test]
    fn unsigned_mail_needs_no_clock() {
        let verdict = unless_clock_is_trusted(verdict(Reason::NotSigned), Trust::TooEarly);
        assert_eq!(verdict.reason, Some(Reason::NotSigned));
    }

    #[test]
    fn a_signature_below_the_root_does_not_pass_either_and_changes_no_result() {
        let mut part = signed();
        part.signatures[0].root = false;
        part.result = Some(ResultWord::None);
        part.reason = Some(Reason::SignatureNotAtRoot);
        let verdict = unless_clock_is_trusted(part, Trust::Jumped);
        assert_eq!(verdict.reason, Some(Reason::SignatureNotAtRoot));
        assert_eq!(verdict.signatures[0].result, ResultWord::TempError);
    }
}
