//! Each fault, between a client and the sink.

use super::*;
use crate::client::{Client, Envelope, Silence, send};
use crate::sink::Sink;

const RAW: &[u8] = b"Subject: x\r\n\r\nbody\r\n";

fn envelope() -> Envelope {
    Envelope::new("a@b.example", "c@d.example")
}

#[test]
fn without_a_fault_nothing_changes() {
    let sink = Sink::start();
    let proxy = Proxy::start(sink.address);
    assert_eq!(send(proxy.address, &envelope(), RAW).code, 250);
    assert_eq!(sink.mails()[0].raw, RAW);
    assert_eq!((proxy.fired(), proxy.broken()), (0, 0));
}

#[test]
fn what_clients_say_is_heard_and_nothing_else() {
    let sink = Sink::start();
    let proxy = Proxy::listening(sink.address);
    assert_eq!(send(proxy.address, &envelope(), RAW).code, 250);
    let heard = String::from_utf8(proxy.heard()).unwrap();
    for said in ["RCPT TO:<c@d.example>\r\n", "\r\nbody\r\n.\r\n"] {
        assert!(heard.contains(said), "{heard}");
    }
    assert!(!heard.contains("Ok: kept"), "{heard}");
}

#[test]
fn what_is_only_slow_arrives_whole() {
    let sink = Sink::start();
    let proxy = Proxy::start(sink.address);
    for fault in Fault::ALL.into_iter().filter(|fault| fault.is_only_slow()) {
        for moment in Moment::PHASES {
            sink.clear();
            proxy.once(moment, fault);
            let before = proxy.fired();
            assert_eq!(send(proxy.address, &envelope(), RAW).code, 250);
            assert_eq!(sink.mails()[0].raw, RAW);
            assert_eq!(proxy.fired(), before + 1, "{fault:?} at {moment:?}");
        }
    }
    assert_eq!(proxy.broken(), 0);
}

#[test]
fn what_breaks_is_broken_at_its_moment_and_once() {
    let sink = Sink::start();
    let proxy = Proxy::start(sink.address);
    let patience = Duration::from_millis(200);
    let attempt = || -> Result<u16, Silence> {
        let mut client = Client::try_connect(proxy.address, patience).unwrap();
        client.hear()?;
        client.send(b"EHLO x\r\n");
        client.hear().map(|reply| reply.code)
    };
    let greeting = |fault| {
        proxy.once(Moment::Greeting, fault);
        let told = attempt();
        proxy.cut_all();
        assert_eq!(attempt(), Ok(250), "the next one after {fault:?}");
        told
    };
    assert_eq!(greeting(Fault::Cut), Err(Silence::Closed));
    assert_eq!(greeting(Fault::Reset), Err(Silence::Closed));
    assert_eq!(greeting(Fault::HalfClose), Err(Silence::Closed));
    assert_eq!(greeting(Fault::Stall), Err(Silence::TimedOut));
    assert!(matches!(greeting(Fault::Garbage), Err(Silence::Garbage(_))));
    proxy.once(Moment::Byte(Way::ToServer, 3), Fault::Cut);
    assert_eq!(attempt(), Err(Silence::Closed));
    assert!(!sink.commands().contains(&"EHL".to_owned()) || sink.count() == 0);
    assert_eq!(proxy.broken(), 6);
}
