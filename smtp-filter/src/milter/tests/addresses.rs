//! Recipients and senders as clients write them, and as an MTA reads them.

use super::Bench;

/// Macros of a command, then the command.
fn with_macro(bench: &mut Bench, command: u8, name: &str, value: &str, path: &str) {
    let macros = format!("{}{{{name}}}\0{value}\0", char::from(command));
    bench.say(b'D', macros.as_bytes());
    bench.say(command, format!("{path}\0").as_bytes());
}

/// Postfix takes them all, unless it is told not to (`strict_rfc821_envelopes`, `allow_percent_hack`, `swap_bangpath`), and
/// delivers to b@example.jp: a rule for example.jp must hold for it.
#[test]
fn an_address_that_is_no_mailbox_is_the_one_that_the_mta_reads_in_it() {
    let odd = [
        "<<b@example.jp>>",
        "<b@example.jp (x)>",
        "<b@example.jp,>",
        "<b@example.jp@>",
        "<b@(x)example.jp>",
        "<x:b@example.jp;>",
        "<b@example . jp>",
        "< b@example.jp >",
        "<\"b@example.jp\">",
        "<b%example.jp>",
        "<example.jp!b>",
        "<@relay.example:b@example.jp>",
        "<b%example.jp@mx.example>",
        "<\"b@example.jp\"@mx.example>",
        "<b>",
    ];
    for path in odd {
        let mut bench = Bench::ready();
        with_macro(&mut bench, b'M', "mail_addr", "b@example.jp", path);
        with_macro(&mut bench, b'R', "rcpt_addr", "b@example.jp", path);
        bench.say(b'E', b"");
        let envelope = &bench.completed[0].envelope;
        assert_eq!(envelope.rcpt_to[0].address, "b@example.jp", "{path}");
        assert_eq!(envelope.mail_from, "b@example.jp", "{path}");
    }
}

#[test]
fn an_address_that_nobody_reads_has_its_mail_refused() {
    for path in [
        "<<b@example.jp>>",
        "<b@example.jp,>",
        "<b%example.jp>",
        "<b (x)>",
    ] {
        // Sendmail names a user of its own without a domain.
        for resolved in ["", "b", "<b@example.jp>"] {
            let mut bench = Bench::ready();
            bench.say(b'M', b"<a@example.org>\0");
            with_macro(&mut bench, b'R', "rcpt_addr", resolved, path);
            let said = bench.say(b'E', b"");
            assert!(bench.completed.is_empty(), "{path} {resolved}");
            assert!(said[0].1.starts_with(b"553 5.1.3 "), "{path} {resolved}");
        }
    }
}

#[test]
fn a_mailbox_and_a_name_are_taken_as_they_are_written() {
    for (path, resolved, known) in [
        ("<B+x@example.jp>", "b@elsewhere.example", "B+x@example.jp"),
        ("<b%c@example.jp>", "", "b%c@example.jp"),
        (
            "<\"b c\"@example.jp>",
            "b c@example.jp",
            "\"b c\"@example.jp",
        ),
        ("<root>", "root", "root"),
        ("<Postmaster>", "", "Postmaster"),
    ] {
        let mut bench = Bench::ready();
        bench.say(b'M', b"<>\0");
        with_macro(&mut bench, b'R', "rcpt_addr", resolved, path);
        bench.say(b'E', b"");
        let envelope = &bench.completed[0].envelope;
        assert_eq!(envelope.rcpt_to[0].address, known);
        assert_eq!(envelope.mail_from, "");
    }
}

#[test]
fn the_macro_of_one_recipient_is_not_that_of_the_next() {
    let mut bench = Bench::ready();
    bench.say(b'M', b"<a@example.org>\0");
    with_macro(
        &mut bench,
        b'R',
        "rcpt_addr",
        "b@example.jp",
        "<<b@example.jp>>",
    );
    bench.say(b'R', b"<<c@example.net>>\0");
    bench.say(b'E', b"");
    assert!(bench.completed.is_empty());
    assert!(bench.rejected[0].1.to_string().starts_with("553 5.1.3 "));
}
