//! Verdicts that do not come from looking at the message: it could not be looked at, or the clock
//! that every check of a certificate rests on cannot be right.

use std::time::SystemTime;

use kenin_policy::verdict::Verdict;
use kenin_policy::{Reason, header, mailbox};

use crate::clock::unix_time;

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
/// makes expired certificates and stale lists good.
pub(crate) fn unless_clock_is_trusted(mut verdict: Verdict, now: SystemTime) -> Verdict {
    if (EARLIEST..=LATEST).contains(&unix_time(now).0) {
        return verdict;
    }
    let reason = Reason::ClockNotTrusted;
    for signature in verdict
        .signatures
        .iter_mut()
        .filter(|signature| signature.root)
    {
        signature.result = reason.result();
        signature.reason = reason;
        verdict.result = Some(reason.result());
        verdict.reason = Some(reason);
    }
    verdict
}

/// 2025-01-01: no copy of this program is older.
const EARLIEST: i64 = 1_735_689_600;
/// 2046: a copy that nobody replaced for so long proves a wrong clock rather than a long life.
const LATEST: i64 = EARLIEST + 21 * 31_557_600;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use kenin_policy::verdict::{Checks, SignatureVerdict};
    use kenin_policy::{Disclosure, ResultWord};

    use super::*;

    fn signed() -> Verdict {
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
        });
        one
    }

    fn at(seconds: i64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap())
    }

    #[test]
    fn an_impossible_clock_passes_nothing() {
        for seconds in [0, EARLIEST - 1, LATEST + 1] {
            let verdict = unless_clock_is_trusted(signed(), at(seconds));
            assert_eq!(verdict.reason, Some(Reason::ClockNotTrusted));
            assert_eq!(verdict.result, Some(ResultWord::TempError));
            assert_eq!(verdict.signatures[0].result, ResultWord::TempError);
        }
        assert!(unless_clock_is_trusted(signed(), at(EARLIEST)).is_pass());
        assert!(unless_clock_is_trusted(signed(), at(LATEST)).is_pass());
    }

    #[test]
    fn unsigned_mail_needs_no_clock() {
        let verdict = unless_clock_is_trusted(verdict(Reason::NotSigned), at(0));
        assert_eq!(verdict.reason, Some(Reason::NotSigned));
    }
}
