//! BOMB-11 at the health and metrics listener: clients that never end their request are cut, and while
//! they last nobody else gets their memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::sink::Sink;
use kenin_tests::world::wait_for;

/// A client that says this and no more.
fn half(gateway: &Gateway, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.http).unwrap();
    let _ = stream.write_all(text.as_bytes());
    stream
}

/// Whether the server has hung up; what it said before is read.
fn is_cut(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Whether a request is answered; one that is turned away may be reset.
fn is_served(gateway: &Gateway) -> bool {
    let mut stream = half(
        gateway,
        "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes.starts_with(b"HTTP/1.1 200 ")
}

#[test]
fn requests_without_an_end_are_cut() {
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let before = gateway.descriptors();
    for text in [
        "",
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut stream = half(&gateway, text);
        wait_for("the connection is cut", || is_cut(&mut stream));
    }
    let mut long = half(
        &gateway,
        &format!("GET /livez HTTP/1.1\r\nX: {}", "y".repeat(40_000)),
    );
    wait_for("a header too long is cut", || is_cut(&mut long));
    wait_for("descriptors are given back", || {
        gateway.descriptors() <= before
    });
}

#[test]
fn a_crowd_of_them_is_bounded_and_passes() {
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let before = gateway.descriptors();
    let crowd: Vec<TcpStream> = (0..200)
        .map(|_| half(&gateway, "GET /livez HTTP/1.1\r\n"))
        .collect();
    wait_for("all but some are turned away", || {
        gateway.descriptors() <= before + 64
    });
    wait_for("the others are served again", || is_served(&gateway));
    drop(crowd);
}
