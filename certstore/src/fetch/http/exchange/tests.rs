use std::time::Duration;

use tokio::io::DuplexStream;

use super::*;

const ENOUGH: Limits = Limits {
    bytes: 1000,
    total: Duration::from_secs(600),
    connect: Duration::from_secs(5),
    rate: 100,
};

/// A stream whose other end is a server. It is narrow, so that answers come in many pieces.
fn stream() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(64)
}

async fn read_request(server: &mut DuplexStream) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(server.read_u8().await.unwrap());
    }
    request
}

async fn ask(stream: DuplexStream) -> (Result<Answer, HttpError>, Vec<u8>) {
    ask_within(stream, &ENOUGH).await
}

async fn ask_within(stream: DuplexStream, limits: &Limits) -> (Result<Answer, HttpError>, Vec<u8>) {
    let mut body = Vec::new();
    let mut sink = |piece: &[u8]| -> Result<(), SinkError> {
        assert!(!piece.is_empty() && piece.len() <= 2 * PIECE);
        body.extend_from_slice(piece);
        Ok(())
    };
    let head = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let answer = exchange(stream, head, b"", limits, &mut sink).await;
    (answer, body)
}

/// What comes of this answer, after which the server closes.
async fn answer(text: &str) -> (Result<Answer, HttpError>, Vec<u8>) {
    answer_within(text, &ENOUGH).await
}

async fn answer_within(text: &str, limits: &Limits) -> (Result<Answer, HttpError>, Vec<u8>) {
    let (client, mut server) = stream();
    let text = text.to_owned();
    let task = tokio::spawn(async move {
        read_request(&mut server).await;
        // The client may have seen enough.
        let _ = server.write_all(text.as_bytes()).await;
    });
    let result = ask_within(client, limits).await;
    task.await.unwrap();
    result
}

#[tokio::test]
async fn bodies_end_where_they_say() {
    let long = "y".repeat(1000);
    let chunk = format!("Transfer-Encoding: chunked\r\n\r\n3E8\r\n{long}\r\n0\r\n\r\n");
    let chunk = format!("HTTP/1.1 200 OK\r\n{chunk}");
    let length = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{long}");
    let close = format!("HTTP/1.1 200 OK\r\n\r\n{long}");
    for (text, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        ("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", "abc"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length:  0003 \r\n\r\nabc",
            "abc",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        (
            "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\n\r\nabc",
            "abc",
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", ""),
        ("HTTP/1.0 200 OK\r\nX: y\r\n\r\nabc\r\n\r\n", "abc\r\n\r\n"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n\
             3\r\nabc\r\n00A  ;x=\"y\";z\r\n0123456\r\n9\r\n0;a\r\nX: y\r\nZ: z\r\n\r\nmore",
            "abc0123456\r\n9",
        ),
        (chunk.as_str(), long.as_str()),
        (length.as_str(), long.as_str()),
        (close.as_str(), long.as_str()),
    ] {
        let (result, found) = answer(text).await;
        let Ok(Answer::Whole(bytes)) = result else {
            panic!("{text} {result:?}");
        };
        assert_eq!(bytes, size(body.len()), "{text}");
        assert_eq!(found, body.as_bytes(), "{text}");
    }
}

#[tokio::test]
async fn redirects_name_a_place() {
    for status in [301, 302, 303, 307, 308] {
        let fields = "Location:  /b \r\nContent-Length: 9";
        let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n\r\nsee there");
        let (result, body) = answer(&text).await;
        let Ok(Answer::Moved {
            status: found,
            location,
        }) = result
        else {
            panic!("{result:?}");
        };
        assert_eq!((found, location.as_str()), (status, "/b"));
        assert!(body.is_empty());
    }
}

/// BOMB-09 and what a careless reader would take two ways.
#[tokio::test]
async fn doubtful_answers_are_refused() {
    let ok = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
    let length = |value: &str| ok(&format!("Content-Length: {value}")) + "abc";
    let chunked = |body: &str| ok("Transfer-Encoding: chunked") + body;
    let flood = "X: y\r\n".repeat(100);
    for (text, expected) in [
        // No HTTP.
        ("".to_owned(), "Truncated"),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(), "Head("),
        ("+OK\r\n\r\n".to_owned(), "Head("),
        ("\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned(), "Head("),
        ("HTTP/2 200\r\n\r\n".to_owned(), "Head("),
        (
            "HTTP/1.1 200 OK\nContent-Length: 3\r\n\r\nabc".to_owned(),
            "Head(",
        ),
        ("HTTP/1.1 200 OK\n\nabc".to_owned(), "Truncated"),
        ("HTTP/1.1 200 OK\r\nX: y".to_owned(), "Truncated"),
        (ok("X : y"), "Head("),
        (ok("no field"), "Head("),
        (ok("X: a\r\n b"), "Head("),
        (ok("X: a\rb"), "Head("),
        (ok("X: a\0b"), "Head("),
        (ok(&flood), "Head("),
        (ok(&format!("X: {}", "y".repeat(MAX_HEAD))), "HeadTooLong"),
        (
            ok(&format!("X: {}", "y".repeat(4 * MAX_HEAD))),
            "HeadTooLong",
        ),
        // Other answers.
        ("HTTP/1.1 404 Not Found\r\n\r\n".to_owned(), "Status(404)"),
        (
            "HTTP/1.1 206 Partial Content\r\n\r\nabc".to_owned(),
            "Status(206)",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "Status(204)"),
        (
            "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
            "Status(304)",
        ),
        (
            "HTTP/1.1 300 Choices\r\nLocation: /b\r\n\r\n".to_owned(),
            "Status(300)",
        ),
        (
            "HTTP/1.1 401 X\r\nWWW-Authenticate: Basic\r\n\r\n".to_owned(),
            "Status(401)",
        ),
        (
            "HTTP/1.1 101 X\r\nUpgrade: h2c\r\n\r\n".to_owned(),
            "Status(101)",
        ),
        ("HTTP/1.1 302 Found\r\n\r\n".to_owned(), "Head("),
        (
            "HTTP/1.1 302 X\r\nLocation: \u{8a8d}\r\nLocation: /b\r\n\r\n".to_owned(),
            "Head(",
        ),
        // Compressed.
        (ok("Content-Encoding: gzip"), "Coding(\"gzip\")"),
        (ok("Content-Encoding: identity, gzip"), "Coding("),
        (
            ok("Content-Encoding: identity\r\nContent-Encoding: br"),
            "Coding(\"br\")",
        ),
        (ok("Transfer-Encoding: gzip"), "Coding(\"gzip\")"),
        (ok("Transfer-Encoding: gzip, chunked"), "Coding("),
        (ok("Transfer-Encoding: chunked, identity"), "Coding("),
        // Two ends, or none.
        (
            ok("Content-Length: 3\r\nTransfer-Encoding: chunked"),
            "Framing(",
        ),
        (
            ok("Transfer-Encoding: chunked\r\nContent-Length: 3"),
            "Framing(",
        ),
        (ok("Content-Length: 3\r\nContent-Length: 3"), "Framing("),
        (
            ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            "Framing(",
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "Framing(",
        ),
        (length(""), "Framing("),
        (length("+3"), "Framing("),
        (length("-3"), "Framing("),
        (length("0x3"), "Framing("),
        (length("3, 3"), "Framing("),
        (length("3 3"), "Framing("),
        (length("99999999999999999999"), "Framing("),
        (length("4"), "Truncated"),
        (length("1001"), "TooLarge(1000)"),
        (length("18446744073709551615"), "TooLarge(1000)"),
        (ok("X: y") + &"z".repeat(1001), "TooLarge(1000)"),
        // Chunks.
        (chunked(""), "Truncated"),
        (chunked("3\r\nab"), "Truncated"),
        (chunked("3\r\nabc\r\n"), "Truncated"),
        (chunked("3\r\nabc\r\n0\r\n"), "Truncated"),
        (chunked("3\r\nabcd\r\n0\r\n\r\n"), "Framing("),
        (chunked("3\r\nabc0\r\n\r\n"), "Framing("),
        (chunked("3\r\nabc\n0\r\n\r\n"), "Framing("),
        (chunked("3\nabc\r\n0\r\n\r\n"), "Framing("),
        (chunked("3\rx\r\nabc\r\n0\r\n\r\n"), "Framing("),
        (chunked("\r\n\r\n"), "Framing("),
        (chunked(";x\r\n\r\n"), "Framing("),
        (chunked("0x3\r\nabc\r\n0\r\n\r\n"), "Framing("),
        (chunked("+3\r\nabc\r\n0\r\n\r\n"), "Framing("),
        (chunked(" 3\r\nabc\r\n0\r\n\r\n"), "Framing("),
        (chunked("g\r\n"), "Framing("),
        (chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"), "Framing("),
        (chunked("FFFFFFFFFFFFFFFF\r\nabc"), "TooLarge(1000)"),
        (
            chunked("3\r\nabc\r\nFFFFFFFFFFFFFFFF\r\nabc"),
            "TooLarge(1000)",
        ),
        (chunked("3e9\r\nabc"), "TooLarge(1000)"),
        (
            chunked(&format!("3;{}\r\nabc", "x".repeat(MAX_LINE))),
            "Framing(",
        ),
        (
            chunked(&format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(30)),
            "Framing(",
        ),
        (
            chunked(&("0\r\n".to_owned() + &"X: y\r\n".repeat(2000))),
            "Framing(",
        ),
        (
            chunked(&("0\r\n".to_owned() + &"y".repeat(5000))),
            "Framing(",
        ),
    ] {
        let (result, body) = answer(&text).await;
        let found = format!("{:?}", result.unwrap_err());
        let start: String = text.chars().take(100).collect();
        assert!(
            found.starts_with(expected),
            "{start:?}: {found}, not {expected}"
        );
        assert!(body.len() <= 1000, "{start:?}");
    }
}

#[tokio::test]
async fn the_longest_head_is_read() {
    let rest = "HTTP/1.1 200 OK\r\nX: \r\n\r\n".len();
    for (more, fits) in [(0, true), (1, false)] {
        let value = "y".repeat(MAX_HEAD - rest + more);
        let (result, _) = answer(&format!("HTTP/1.1 200 OK\r\nX: {value}\r\n\r\n")).await;
        assert_eq!(result.is_ok(), fits, "{result:?}");
    }
}

/// A server that never ends is left at the limit, whatever it sends for ever.
#[tokio::test]
async fn endless_answers_are_cut_off() {
    for (start, again, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "x", "TooLarge"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\nx\r\n",
            "TooLarge",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            "X: y\r\n",
            "Framing",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "0",
            "Framing",
        ),
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n", "HeadTooLong"),
        ("", "x", "HeadTooLong"),
        ("", "\n", "HeadTooLong"),
    ] {
        let (client, mut server) = stream();
        let task = tokio::spawn(async move {
            read_request(&mut server).await;
            server.write_all(start.as_bytes()).await.unwrap();
            let mut sent = 0;
            while server.write_all(again.as_bytes()).await.is_ok() {
                sent += again.len();
            }
            sent
        });
        let (result, body) = ask(client).await;
        let found = format!("{:?}", result.unwrap_err());
        assert!(found.starts_with(expected), "{start:?} {again:?}: {found}");
        assert!(body.len() <= 1000);
        // The connection is closed, so the server ends, after little more than was taken.
        assert!(task.await.unwrap() < 4 * MAX_HEAD, "{start:?} {again:?}");
    }
}

/// BOMB-09: of lists, answers and issuers as much as they may have, and not a byte more; a gibibyte is refused when it
/// is announced, and nothing of it is waited for.
#[tokio::test]
async fn each_kind_has_its_cap_at_its_edge() {
    const GIBIBYTE: u64 = 1 << 30;
    for limits in [Limits::CRL, Limits::OCSP, Limits::ISSUER] {
        let most = limits.bytes;
        assert!(most < GIBIBYTE);
        let too_much = format!("TooLarge({most})");
        let too_much = too_much.as_str();
        for (length, expected) in [
            (most - 1, "Truncated"),
            (most, "Truncated"),
            (most + 1, too_much),
            (
                100 << 20,
                if most < 100 << 20 {
                    too_much
                } else {
                    "Truncated"
                },
            ),
            (GIBIBYTE, too_much),
        ] {
            for framing in [
                format!("Content-Length: {length}\r\n\r\n"),
                format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n"),
            ] {
                let text = format!("HTTP/1.1 200 OK\r\n{framing}");
                let (result, body) = answer_within(&text, &limits).await;
                assert_eq!(format!("{:?}", result.unwrap_err()), expected, "{text}");
                assert!(body.is_empty());
            }
        }
    }
    // And in full, for the shortest of them.
    let most = usize::try_from(Limits::OCSP.bytes).unwrap();
    for (length, fine) in [(most - 1, true), (most, true), (most + 1, false)] {
        let text = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(length));
        let (result, body) = answer_within(&text, &Limits::OCSP).await;
        assert_eq!(result.is_ok(), fine, "{length}");
        assert!(body.len() <= most);
    }
}

/// What the server says at once, and then again and again after each second.
async fn slowly(at_once: &'static str, again: &'static str) -> (Result<Answer, HttpError>, u64) {
    let (client, mut server) = stream();
    // Nobody notices a closed stream by writing nothing to it, so this is stopped from outside.
    let task = tokio::spawn(async move {
        read_request(&mut server).await;
        server.write_all(at_once.as_bytes()).await.unwrap();
        while server.write_all(again.as_bytes()).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let begun = Instant::now();
    let (result, _) = ask(client).await;
    let seconds = begun.elapsed().as_secs();
    task.abort();
    (result, seconds)
}

/// BOMB-09: a byte a second keeps nobody.
#[tokio::test(start_paused = true)]
async fn slow_servers_are_left() {
    for (at_once, again) in [
        ("", ""),
        ("", "H"),
        ("HTTP/1.1 200 OK\r\nX: ", "y"),
        ("HTTP/1.1 200 OK\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", "x"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\nx\r\n",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
    ] {
        let (result, seconds) = slowly(at_once, again).await;
        let error = result.unwrap_err();
        assert!(
            matches!(error, HttpError::TooSlow(100)),
            "{at_once:?} {again:?}: {error}"
        );
        assert!(
            (9..=11).contains(&seconds),
            "{at_once:?} {again:?}: {seconds}"
        );
    }
}

/// A line that is slow but alive is waited for: 160 bytes a second, for longer than one window.
#[tokio::test(start_paused = true)]
async fn steady_servers_are_waited_for() {
    let (client, mut server) = stream();
    let task = tokio::spawn(async move {
        read_request(&mut server).await;
        let head = b"HTTP/1.1 200 OK\r\nX: ";
        server.write_all(head).await.unwrap();
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            server.write_all(&[b'y'; 160]).await.unwrap();
        }
        server.write_all(b"\r\n\r\nabc").await.unwrap();
    });
    let (result, body) = ask(client).await;
    assert!(matches!(result, Ok(Answer::Whole(3))), "{result:?}");
    assert_eq!(body, b"abc");
    task.await.unwrap();
}

/// Who cannot take what comes, a full disk for one, ends the fetch.
#[tokio::test]
async fn the_sink_may_refuse() {
    let (client, mut server) = stream();
    let task = tokio::spawn(async move {
        read_request(&mut server).await;
        while server
            .write_all(b"HTTP/1.1 200 OK\r\n\r\nabc")
            .await
            .is_ok()
        {}
    });
    let mut pieces = 0;
    let mut sink = |_: &[u8]| -> Result<(), SinkError> {
        pieces += 1;
        Err("the disk is full".into())
    };
    let head = "GET / HTTP/1.1\r\n\r\n";
    let result = exchange(client, head, b"", &ENOUGH, &mut sink).await;
    let error = result.unwrap_err();
    assert!(matches!(error, HttpError::Sink(_)), "{error}");
    assert!(error.to_string().contains("the disk is full"));
    assert_eq!(pieces, 1);
    task.await.unwrap();
}
