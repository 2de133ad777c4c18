//! Connections that break after any byte, stall, come in single bytes or hold what nobody sent:
//! between client and Kenin, Kenin and next hop, Postfix and milter. No answer is untrue, every answer
//! is a known one, and the next mail goes through. `bench/soak` breaks each link both by FIN and RST.

use kenin_tests::faults::{Link, Sweep, matrix, sweep};
use kenin_tests::proxy::{Fault, Way};

fn swept(link: Link, fault: Fault) {
    for way in [Way::ToServer, Way::ToClient] {
        let plan = Sweep { link, way, fault };
        let (account, fired, places) = sweep(&plan);
        println!(
            "{plan:?}: {fired} of {places}, {account}\n{:#?}",
            account.replies
        );
        assert!(account.balanced(), "{plan:?}: {account:#?}");
        assert_eq!(fired, places, "{plan:?}");
    }
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
    swept(Link::Client, Fault::Cut);
}

#[test]
fn reset_between_lmtp_client_and_kenin() {
    swept(Link::LmtpClient, Fault::Reset);
}

#[test]
fn cut_between_kenin_and_the_next_hop() {
    swept(Link::NextHop, Fault::Cut);
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
