use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::fetch::{Fetch, tls_client};

const LIST: Limits = Limits {
    bytes: 1 << 20,
    total: Duration::from_secs(60),
    connect: Duration::from_secs(5),
    rate: 1,
};

fn whole(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn moved(status: u16, to: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

/// A web server on this machine, not yet at work.
struct Web {
    listener: TcpListener,
    port: u16,
}

impl Web {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// Gives one answer to each connection; the requests are its result.
    fn serve(self, answers: Vec<String>) -> JoinHandle<Vec<String>> {
        tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = self.listener.accept().await.unwrap();
                requests.push(talk(&mut stream, &answer).await);
            }
            requests
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://ca.example:{}{path}", self.port)
    }

    /// A client whose every name is this machine, which it may reach, at this port.
    fn client(&self) -> Client {
        local(&[self.port])
    }

    /// Nobody has connected.
    fn assert_untouched(self) {
        let listener = self.listener.into_std().unwrap();
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

async fn talk<S>(stream: &mut S, answer: &str) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let mut request = String::from_utf8(request).unwrap();
    if let Some((_, rest)) = request.split_once("Content-Length: ") {
        let mut body = vec![0; rest.trim_end().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        request.push_str(std::str::from_utf8(&body).unwrap());
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    // The client may have closed, having all it asked for.
    let _ = stream.shutdown().await;
    request
}

fn local(ports: &[u16]) -> Client {
    let reach = Reach::new(vec!["127.0.0.0/8".parse().unwrap()]);
    Client::new(reach, Ports::and(ports), tls_client(None).unwrap())
        .with_resolver(canned(&["127.0.0.1"]))
}

/// A resolver that knows one answer.
fn canned(addresses: &[&str]) -> Resolve {
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Arc::new(move |_: &str| -> Resolving {
        let addresses = addresses.clone();
        Box::pin(async move { Ok::<_, io::Error>(addresses) })
    })
}

async fn get(client: &Client, url: &str) -> Result<(Fetched, String), HttpError> {
    let place = Place::parse(url, &client.ports).unwrap();
    let mut body = Vec::new();
    let sink = |piece: &[u8]| -> Result<(), SinkError> {
        body.extend_from_slice(piece);
        Ok(())
    };
    let request = Request::get(&place, "application/pkix-crl");
    let fetched = client.request(&request, &LIST, sink).await?;
    Ok((fetched, String::from_utf8(body).unwrap()))
}

#[tokio::test]
async fn a_list_is_fetched() {
    let web = Web::open().await;
    let (client, url, port) = (web.client(), web.url("/a%20b.crl?x"), web.port);
    let server = web.serve(vec![whole("a list")]);
    let (fetched, body) = get(&client, &url).await.unwrap();
    assert_eq!(body, "a list");
    assert_eq!((fetched.place.to_string(), fetched.bytes), (url, 6));
    let expected = format!(
        "GET /a%20b.crl?x HTTP/1.1\r\nHost: ca.example:{port}\r\nUser-Agent: Kenin\r\n\
         Accept: application/pkix-crl\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(server.await.unwrap(), [expected]);
}

#[tokio::test]
async fn a_question_is_posted() {
    let web = Web::open().await;
    let (client, url) = (web.client(), web.url("/ocsp"));
    let server = web.serve(vec![moved(307, "/other"), whole("good")]);
    let place = Place::parse(&url, &client.ports).unwrap();
    let (accept, media_type) = ("application/ocsp-response", "application/ocsp-request");
    let request = Request::post(&place, accept, media_type, b"which?");
    assert_eq!(request.body(), Some(&b"which?"[..]));
    let mut body = Vec::new();
    let mut sink = |piece: &[u8]| -> Result<(), SinkError> {
        body.extend_from_slice(piece);
        Ok(())
    };
    // As those ask who do not know whether this is the network.
    let fetch: &dyn Fetch = &client;
    let fetched = fetch
        .fetch(&request, &Limits::OCSP, &mut sink)
        .await
        .unwrap();
    assert_eq!((body.as_slice(), fetched.bytes), (&b"good"[..], 4));
    assert_eq!(fetched.place.target(), "/other");
    let requests = server.await.unwrap();
    let starts = ["POST /ocsp HTTP/1.1\r\n", "POST /other HTTP/1.1\r\n"];
    for (request, start) in requests.iter().zip(starts) {
        assert!(request.starts_with(start), "{request}");
        let end = "Content-Type: application/ocsp-request\r\nContent-Length: 6\r\n\r\nwhich?";
        assert!(request.ends_with(end), "{request}");
    }
}

#[tokio::test]
async fn a_posted_question_is_not_asked_otherwise() {
    let web = Web::open().await;
    let (client, url) = (web.client(), web.url("/ocsp"));
    let server = web.serve(vec![moved(303, "/other")]);
    let place = Place::parse(&url, &client.ports).unwrap();
    let request = Request::post(&place, "*/*", "application/ocsp-request", b"which?");
    let sink = |_: &[u8]| -> Result<(), SinkError> { Ok(()) };
    let error = client.request(&request, &LIST, sink).await.unwrap_err();
    assert!(matches!(error, HttpError::Status(303)), "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn redirects_on_the_host_are_followed() {
    let web = Web::open().await;
    let (client, url) = (web.client(), web.url("/a"));
    let third = moved(302, &web.url("/c?d"));
    let server = web.serve(vec![moved(301, "/b"), third, moved(308, "/e"), whole("x")]);
    let (fetched, body) = get(&client, &url).await.unwrap();
    assert_eq!((fetched.place.target(), body.as_str()), ("/e", "x"));
    let requests = server.await.unwrap();
    let asked: Vec<&str> = requests
        .iter()
        .filter_map(|text| text.split(' ').nth(1))
        .collect();
    assert_eq!(asked, ["/a", "/b", "/c?d", "/e"]);
}

#[tokio::test]
async fn redirects_end() {
    let web = Web::open().await;
    let (client, url) = (web.client(), web.url("/a"));
    let server = web.serve(vec![moved(302, "/a"); 4]);
    let error = get(&client, &url).await.unwrap_err();
    assert!(matches!(error, HttpError::Redirects), "{error}");
    assert_eq!(server.await.unwrap().len(), 4);
}

/// PKI-03: a server that is asked leads nowhere else.
#[tokio::test]
async fn redirects_elsewhere_are_refused() {
    let victim = Web::open().await;
    let to = victim.port;
    for (location, expected) in [
        (format!("http://evil.example:{to}/"), "RedirectAway"),
        (format!("//evil.example:{to}/"), "RedirectAway"),
        (format!("http://127.0.0.1:{to}/"), "RedirectAway"),
        (
            format!("http://ca.example.evil.example:{to}/"),
            "RedirectAway",
        ),
        (format!("ldap://ca.example:{to}/o=x"), "RedirectAway"),
        (
            format!("http://ca.example@127.0.0.1:{to}/"),
            "Redirect(UserInfo",
        ),
        (format!("http://0x7f.1:{to}/"), "Redirect(NumericHost"),
        (
            "http://ca.example:1/".to_owned(),
            "Redirect(PortNotPermitted(1)",
        ),
        ("file:///etc/passwd".to_owned(), "Redirect(Scheme"),
        ("gopher://ca.example/x".to_owned(), "Redirect(Scheme"),
        ("b.crl".to_owned(), "Redirect(Location"),
        ("/b#c".to_owned(), "Redirect(Fragment"),
        ("/b%0d%0aX:y".to_owned(), "Redirect(Control"),
        (format!("/{}", "x".repeat(3000)), "Redirect(TooLong"),
    ] {
        let web = Web::open().await;
        let (client, url) = (local(&[web.port, to]), web.url("/a"));
        let server = web.serve(vec![moved(302, &location)]);
        let error = get(&client, &url).await.unwrap_err();
        let found = format!("{error:?}");
        assert!(found.starts_with(expected), "{location}: {found}");
        server.await.unwrap();
    }
    victim.assert_untouched();
}

/// PKI-03: names of hostile certificates against a machine that listens. None is connected to.
#[tokio::test]
async fn forbidden_addresses_are_not_connected_to() {
    let web = Web::open().await;
    let usual = |addresses: &[&str]| {
        let tls = tls_client(None).unwrap();
        Client::new(Reach::default(), Ports::and(&[web.port]), tls).with_resolver(canned(addresses))
    };
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["0.0.0.0"],
        &["::"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::"],
        &["169.254.169.254"],
        &["10.0.0.1"],
        // Rebinding: a good one beside ours, in either order.
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
        &["2a00::1", "8.8.8.8", "::ffff:127.0.0.1"],
    ] {
        let error = get(&usual(addresses), &web.url("/")).await.unwrap_err();
        assert!(
            matches!(error, HttpError::Forbidden(_)),
            "{addresses:?} {error}"
        );
    }
    for host in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "[::]",
        "127.1.2.3",
    ] {
        let url = format!("http://{host}:{}/", web.port);
        // What the resolver would say is not asked.
        let error = get(&usual(&["8.8.8.8"]), &url).await.unwrap_err();
        assert!(matches!(error, HttpError::Forbidden(_)), "{host} {error}");
    }
    web.assert_untouched();
}

/// PKI-03: a resolver whose next answer is another address. A redirect on the host does not ask it again, another
/// request does, and is judged by what it says then.
#[tokio::test]
async fn a_name_that_gets_another_address_leads_nowhere() {
    let victim = Web::open().await;
    let port = victim.port;
    let listener = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let good = Web { listener, port };
    let answers: [&'static [&'static str]; 4] = [
        &["127.0.0.2"],
        &["127.0.0.1"],
        &["127.0.0.2", "127.0.0.1"],
        &["::ffff:127.0.0.1", "127.0.0.2"],
    ];
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let changing: Resolve = Arc::new(move |_: &str| -> Resolving {
        let texts = answers[count.fetch_add(1, Ordering::SeqCst)];
        let addresses: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(async move { Ok::<_, io::Error>(addresses) })
    });
    let reach = Reach::new(vec!["127.0.0.2".parse().unwrap()]);
    let client = Client::new(reach, Ports::and(&[port]), tls_client(None).unwrap());
    let client = client.with_resolver(changing);
    let url = victim.url("/a");
    let server = good.serve(vec![moved(302, "/b"), whole("x")]);
    let (fetched, body) = get(&client, &url).await.unwrap();
    assert_eq!((fetched.place.target(), body.as_str()), ("/b", "x"));
    assert_eq!(
        asked.load(Ordering::SeqCst),
        1,
        "two connections, one question"
    );
    server.await.unwrap();
    for _ in 1..answers.len() {
        let error = get(&client, &url).await.unwrap_err();
        assert!(matches!(error, HttpError::Forbidden(_)), "{error}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), answers.len());
    victim.assert_untouched();
}

#[tokio::test]
async fn a_directory_is_not_asked_as_a_web_server() {
    let web = Web::open().await;
    let url = format!("ldap://ca.example:{}/o=x", web.port);
    let error = get(&web.client(), &url).await.unwrap_err();
    assert!(matches!(error, HttpError::NotHttp), "{error}");
    web.assert_untouched();
}

#[tokio::test]
async fn names_may_have_no_address() {
    let client = local(&[]).with_resolver(canned(&[]));
    let error = get(&client, "http://ca.example/").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "ca.example has no address; see that the name is right"
    );
    let broken: Resolve = Arc::new(|name: &str| -> Resolving {
        assert_eq!(name, "ca.example");
        Box::pin(async { Err::<Vec<IpAddr>, _>(io::Error::other("SERVFAIL")) })
    });
    let client = client.with_resolver(broken);
    let error = get(&client, "http://CA.example/")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("ca.example has no address: SERVFAIL;"),
        "{error}"
    );
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let web = Web::open().await;
    let (client, url, port) = (web.client(), web.url("/"), web.port);
    drop(web);
    let error = get(&client, &url).await.unwrap_err();
    assert!(matches!(error, HttpError::Connect { .. }), "{error}");
    assert!(
        error
            .to_string()
            .starts_with(&format!("127.0.0.1:{port} takes no connection"))
    );
}

/// Nothing that is waited for has a limit of its own that is longer than the whole.
#[tokio::test(start_paused = true)]
async fn the_whole_has_a_deadline() {
    let silent: Resolve = Arc::new(|_: &str| -> Resolving { Box::pin(std::future::pending()) });
    let client = local(&[]).with_resolver(silent);
    let begun = tokio::time::Instant::now();
    let error = get(&client, "http://ca.example/").await.unwrap_err();
    assert!(
        matches!(error, HttpError::Deadline(total) if total == LIST.total),
        "{error}"
    );
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert_eq!(
        error.to_string(),
        "no whole answer within 60 s; it is tried again later"
    );
}

/// BOMB-09: a body without end, over a real connection.
#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let web = Web::open().await;
    let (client, url) = (web.client(), web.url("/"));
    let server = tokio::spawn(async move {
        let (mut stream, _) = web.listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let piece = [b'x'; 4096];
        while stream.write_all(&piece).await.is_ok() {}
    });
    let error = get(&client, &url).await.unwrap_err();
    assert!(
        matches!(error, HttpError::TooLarge(limit) if limit == LIST.bytes),
        "{error}"
    );
    server.await.unwrap();
}

/// A server with TLS for `ca.example`, under an authority of its own (PEM).
fn secured(web: Web, answer: String) -> (String, JoinHandle<bool>) {
    let made = rcgen::generate_simple_self_signed(vec!["ca.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let task = tokio::spawn(async move {
        let (stream, _) = web.listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else {
            return false;
        };
        talk(&mut stream, &answer).await;
        true
    });
    (made.cert.pem(), task)
}

#[tokio::test]
async fn a_redirect_may_add_tls() {
    let (plain, web) = (Web::open().await, Web::open().await);
    let ports = [plain.port, web.port];
    let (url, to) = (
        plain.url("/a"),
        format!("https://ca.example:{}/b", web.port),
    );
    let first = plain.serve(vec![moved(301, &to)]);
    let (ca, second) = secured(web, whole("x"));
    let tls = tls_client(Some(ca.as_bytes())).unwrap();
    let client = Client {
        tls,
        ..local(&ports)
    };
    let (fetched, body) = get(&client, &url).await.unwrap();
    assert_eq!((fetched.place.to_string(), body), (to, "x".to_owned()));
    first.await.unwrap();
    assert!(second.await.unwrap());
}

#[tokio::test]
async fn a_redirect_may_not_take_tls_away() {
    let (plain, web) = (Web::open().await, Web::open().await);
    let ports = [plain.port, web.port];
    let url = format!("https://ca.example:{}/b", web.port);
    let (ca, server) = secured(web, moved(301, &plain.url("/a")));
    let tls = tls_client(Some(ca.as_bytes())).unwrap();
    let client = Client {
        tls,
        ..local(&ports)
    };
    let error = get(&client, &url).await.unwrap_err();
    assert!(matches!(error, HttpError::RedirectAway(_)), "{error}");
    assert!(server.await.unwrap());
    plain.assert_untouched();
}

#[tokio::test]
async fn the_certificate_is_checked() {
    for (name, own) in [("ca.example", false), ("other.example", true)] {
        let web = Web::open().await;
        let ports = [web.port];
        let url = format!("https://{name}:{}/b", web.port);
        let (ca, server) = secured(web, whole("x"));
        let ca = own.then_some(ca.as_bytes());
        let client = Client {
            tls: tls_client(ca).unwrap(),
            ..local(&ports)
        };
        let error = get(&client, &url).await.unwrap_err();
        assert!(matches!(error, HttpError::Tls { .. }), "{error}");
        assert!(!server.await.unwrap(), "the server saw no request");
    }
}
