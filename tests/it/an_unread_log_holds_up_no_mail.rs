//! Somebody has to read the log; while nobody does, mail goes on, and the log says later what it lacks.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::sync::{Arc, Mutex};

use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::sink::{Behaviour, Sink};
use kenin_tests::world::{run, wait_for};
use rustix::process::Signal;

/// A gateway whose log goes to a pipe, and the end of the pipe.
fn piped(sink: &Sink) -> (Gateway, File) {
    let mut gateway = Gateway::prepare(&Setup::new(sink.address));
    let pipe = gateway.folder.join("pipe");
    run(Command::new("mkfifo").arg(&pipe));
    // Both ends, so that neither opening nor the last writer's end waits for anybody.
    let end = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let line = format!("exec \"$@\" 2>'{}'", pipe.display());
    gateway.restart_under(&["bash", "-c", &line, "kenin"].map(str::to_owned));
    (gateway, end)
}

fn dropped(gateway: &Gateway) -> u64 {
    let (_, metrics) = gateway.get("/metrics");
    let line = metrics
        .lines()
        .find(|line| line.starts_with("kenin_log_lines_dropped_total "));
    let number = line.and_then(|line| line.split(' ').next_back());
    number.expect("the metric is there").parse().unwrap()
}

/// Sends mails whose log lines are long until some of them have no room; gives how many.
fn fill(gateway: &Gateway) -> usize {
    let id = "i".repeat(900);
    let raw = format!("From: a@b.example\r\nMessage-ID: <{id}@b.example>\r\n\r\nx\r\n");
    let mut client = gateway.client();
    let mut mails = 0;
    while dropped(gateway) == 0 {
        assert!(mails < 20_000, "nothing is lost");
        for _ in 0..100 {
            let reply = client.mail(&envelope(), raw.as_bytes()).unwrap();
            assert_eq!(reply.code, 250, "{}", reply.text());
            mails += 1;
        }
    }
    mails
}

fn sink() -> Sink {
    Sink::with(Behaviour {
        keeps_bytes: false,
        ..Behaviour::default()
    })
}

#[test]
fn mail_goes_on_and_the_log_says_what_it_lost() {
    let sink = sink();
    let (gateway, end) = piped(&sink);
    let mails = fill(&gateway);
    assert_eq!(sink.count(), mails);
    let read = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&read);
    std::thread::spawn(move || {
        for line in BufReader::new(end).lines() {
            lines.lock().unwrap().push(line.unwrap());
        }
    });
    let count = |what: &str| {
        let read = read.lock().unwrap();
        read.iter().filter(|line| line.contains(what)).count()
    };
    wait_for("the log says what it lost", || {
        count("log lines were lost here") == 1
    });
    let lost = dropped(&gateway);
    assert_eq!(count(&format!("\"lines\":{lost}")), 1);
    // All lines are of mails, but for those of the start; and now the log goes on.
    let before = count("\"msg\":\"message\"");
    assert_eq!(before + usize::try_from(lost).unwrap(), mails);
    assert_eq!(
        gateway.send(&envelope(), b"Subject: x\r\n\r\nx\r\n").code,
        250
    );
    wait_for("the next line", || {
        count("\"msg\":\"message\"") == before + 1
    });
    assert_eq!(dropped(&gateway), lost);
}

#[test]
fn the_service_ends_also_when_nobody_reads_its_log() {
    let sink = sink();
    let (mut gateway, _end) = piped(&sink);
    fill(&gateway);
    gateway.process().signal(Signal::TERM);
    assert!(gateway.process().wait().success());
}
