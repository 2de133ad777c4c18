//! Connections that break after any byte, stall, come in single bytes or hold what nobody sent:
//! between client and Kenin, Kenin and next hop, Postfix and milter. No answer is untrue, every answer
//! is a known one, and the next mail goes through. `bench/soak` breaks each link both by FIN and RST.

use kenin_tests::faults::{Branch, Cuts, Link, Sweep, cross_divided, cut_divided, matrix, sweep};
use kenin_tests::proxy::{Fault, Way};

fn swept(link: Link, fault: Fault, divided: bool) {
    for way in [Way::ToServer, Way::ToClient] {
        let plan = Sweep {
            link,
            way,
            fault,
            divided,
        };
        let (account, fired, places) = sweep(&plan);
        println!(
            "{plan:?}: {fired} of {places}, {account}\n{:#?}",
            account.replies
        );
        assert!(account.balanced(), "{plan:?}: {account:#?}");
        assert_eq!(fired, places, "{plan:?}");
    }
}

/// A mail that becomes two copies and a notification, on a part of the places: all in `bench/soak`.
fn cut(link: Link, branch: Branch, fault: Fault) {
    for (way, step) in [(Way::ToServer, 13), (Way::ToClient, 3)] {
        let cuts = Cuts {
            link,
            branch,
            way,
            fault,
            step,
        };
        let (account, fired, places) = cut_divided(&cuts);
        println!(
            "{cuts:?}: {fired} of {places}, {account}\n{:#?}",
            account.replies
        );
        assert!(account.balanced(), "{cuts:?}: {account:#?}");
        assert_eq!(fired, places, "{cuts:?}");
    }
}

fn crossed_divided(link: Link, cells: usize) {
    let account = cross_divided(link);
    println!("{link:?}: {account}\n{:#?}", account.replies);
    assert!(account.balanced(), "{account:#?}");
    assert_eq!(account.sent, cells + 1);
}

fn crossed(link: Link) {
    let account = matrix(link);
    println!("{link:?}: {account}\n{:#?}", account.replies);
    assert!(account.balanced(), "{account:#?}");
    // One mail with a fault, one without, in every cell.
    assert_eq!(account.sent, 2 * 64 + 1);
}

#[test]
fn cut_between_client_and_kenin() {
    swept(Link::Client, Fault::Cut, false);
}

#[test]
fn reset_between_lmtp_client_and_kenin() {
    swept(Link::LmtpClient, Fault::Reset, false);
}

#[test]
fn cut_between_kenin_and_the_next_hop() {
    swept(Link::NextHop, Fault::Cut, false);
}

#[test]
fn eight_faults_in_eight_phases_of_a_client() {
    crossed(Link::Client);
}

#[test]
fn eight_faults_in_eight_phases_of_an_lmtp_client() {
    crossed(Link::LmtpClient);
}

#[test]
fn eight_faults_in_eight_phases_of_the_next_hop() {
    crossed(Link::NextHop);
}

#[test]
fn eight_faults_in_eight_phases_of_the_next_hop_of_lmtp() {
    crossed(Link::LmtpNextHop);
}

#[test]
fn eight_faults_in_eight_phases_of_a_milter() {
    crossed(Link::Milter);
}

#[test]
fn cut_between_a_client_and_a_mail_that_is_divided() {
    swept(Link::Client, Fault::Reset, true);
}

#[test]
fn cut_between_an_lmtp_client_and_a_mail_that_is_divided() {
    swept(Link::LmtpClient, Fault::Cut, true);
}

#[test]
fn cut_on_the_first_copys_way() {
    cut(Link::NextHop, Branch::First, Fault::Reset);
}

#[test]
fn cut_on_the_second_copys_way() {
    cut(Link::NextHop, Branch::Second, Fault::Cut);
}

#[test]
fn cut_between_two_answers_of_lmtp() {
    cut(Link::LmtpNextHop, Branch::First, Fault::Cut);
}

#[test]
fn eight_faults_in_the_phases_of_two_copies() {
    crossed_divided(Link::NextHop, (10 + 8) * 8);
}

#[test]
fn eight_faults_in_the_phases_of_two_copies_of_lmtp() {
    crossed_divided(Link::LmtpNextHop, 10 * 8);
}
