//! Which of several lists and answers is the newest, and what an older one still has to say.

use super::*;

/// An authority that makes its lists once a day, with the midnight in them, and one more in a hurry.
#[test]
fn of_two_lists_of_one_moment_the_number_decides_and_else_the_worse_news() {
    let (root, ca, leaf) = three(same, person);
    let serial = leaf.certificate.serial();
    let (date, why) = (now().plus(-9), RevocationReason::KeyCompromise);
    let list = |number: Option<u64>, revoked: bool| {
        let list = ca.list();
        let list = match number {
            Some(number) => list.number(number),
            None => list.without_number(),
        };
        let list = match revoked {
            true => list.revoke(serial, date, why),
            false => list,
        };
        list.issued_by(&ca.certificate, &ca.key).unwrap()
    };
    let run = |lists: [&Crl; 2]| {
        let [one, other] = lists.map(Clone::clone);
        let crls = [root.crl(|c| c), one, other];
        let rules = PathRules::new(now());
        find_with(&leaf, &[&ca], &[root.anchor()], &crls, &rules)
    };
    let kind = PathErrorKind::Revoked {
        time: date,
        reason: why,
    };
    for (before, after) in [
        (Some(1), Some(2)),
        (Some(0xff), Some(0x100)),
        (Some(1), Some(1)),
        (None, Some(1)),
        (Some(1), None),
        (None, None),
    ] {
        let (good, bad) = (list(before, false), list(after, true));
        fails(run([&good, &bad]), kind, "revoked");
        fails(run([&bad, &good]), kind, "revoked");
    }
    // What the later one says counts, as between lists of two days.
    let (bad, good) = (list(Some(1), true), list(Some(2), false));
    run([&bad, &good]).unwrap();
    run([&good, &bad]).unwrap();
    // One list twice is one.
    let path = run([&good, &good]).unwrap();
    assert_eq!(path.revocation().len(), 2);
}
