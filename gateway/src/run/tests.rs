use std::path::Path;
use std::time::Duration;

use super::*;
use crate::init::{InitOptions, Mode, postfix};

fn config(dir: &Path) -> Config {
    let options = InitOptions {
        dir: dir.join("etc"),
        state_dir: dir.join("state"),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..InitOptions::new(Mode::BeforeQueue, "gw.example.jp")
    };
    postfix(&options).unwrap();
    Config::load(&[dir.join("etc/kenin.toml")]).unwrap()
}

/// GET over a plain socket.
async fn get(address: SocketAddr, path: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_started_gateway_answers_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(dir.path())).await.unwrap();
    let http = gateway.http.unwrap();
    assert_ne!(gateway.mail[0].tcp().unwrap().port(), 0);

    let (head, body) = get(http, "/livez").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "alive\n");
    let (head, body) = get(http, "/readyz?verbose").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        body.contains("ok policy: revision ") && body.contains("ok store: "),
        "{body}"
    );
    assert!(body.ends_with("ready\n"));
    let (_, body) = get(http, "/metrics").await;
    assert!(
        body.contains("kenin_config_last_reload_successful"),
        "{body}"
    );
    let (_, body) = get(http, "/.well-known/kenin-keys").await;
    let keys: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(keys["keys"][0]["crv"], "Ed25519");
    assert!(
        keys["keys"][0].get("d").is_none(),
        "the private half must not be shown"
    );
    let (head, _) = get(http, "/secret").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");

    let asked = tokio::task::spawn_blocking(move || http::health_client(http, None)).await;
    assert!(asked.unwrap().unwrap().ends_with("ready\n"));
    gateway.stop().await;
    let nobody = tokio::task::spawn_blocking(move || {
        http::health_client(http, Some(Duration::from_millis(1)))
    });
    assert!(nobody.await.unwrap().is_err());
}

#[tokio::test]
async fn a_port_in_use_and_a_bad_policy_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let good = config(dir.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut busy = good.clone();
    busy.listeners[0].address = ListenAddress::Tcp(taken.local_addr().unwrap());
    let error = Gateway::start(busy).await.err().unwrap();
    assert!(matches!(error, StartError::Unavailable(_)), "{error}");
    assert!(
        error.to_string().contains("cannot listen on 127.0.0.1:"),
        "{error}"
    );

    std::fs::write(dir.path().join("etc/trust.toml"), "crls = [\"nowhere\"]\n").unwrap();
    let error = Gateway::start(good).await.err().unwrap();
    assert!(matches!(error, StartError::Config(_)), "{error}");
    assert!(error.to_string().contains("etc/nowhere"), "{error}");
}

/// Who may send XFORWARD to one port must not depend on the order of listeners in the file.
#[tokio::test]
async fn a_listener_keeps_its_own_settings_when_a_reload_reorders_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path());
    let mut inner = settings.listeners[0].clone();
    inner.address = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 2], 0)));
    inner.trusted_peers = vec!["192.0.2.0/24".parse().unwrap()];
    settings.listeners.push(inner);
    let addresses: Vec<_> = settings
        .listeners
        .iter()
        .map(|one| one.address.clone())
        .collect();
    let build = async |config: &Config| {
        Snapshot::build(Arc::new(config.clone()), None)
            .await
            .unwrap()
    };
    let snapshots = Arc::new(ArcSwap::from_pointee(build(&settings).await));
    let first = snapshots.load().fronts.clone();
    let stranger = "192.0.2.1".parse().unwrap();
    let trusts = |server: &server::ServerConfig| {
        server
            .trusted_peers
            .iter()
            .any(|peers| peers.contains(stranger))
    };
    let sources: Vec<ConfigSource> = (0..2)
        .map(|at| {
            Place {
                snapshots: Arc::clone(&snapshots),
                index: at,
                address: Some(addresses[at].clone()),
            }
            .source(Front::smtp, first[at].smtp().unwrap().clone())
        })
        .collect();
    let trusted = || [trusts(&sources[0]()), trusts(&sources[1]())];
    assert_eq!(trusted(), [false, true]);
    settings.listeners.reverse();
    snapshots.store(Arc::new(build(&settings).await));
    assert_eq!(trusted(), [false, true]);
    settings.listeners.truncate(1);
    snapshots.store(Arc::new(build(&settings).await));
    assert_eq!(trusted(), [false, true]);
}
