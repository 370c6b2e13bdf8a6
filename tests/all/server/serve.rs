//! `hallpass serve` as a process: what it refuses at start, slow clients, and
//! its end.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::login::credentials;
use crate::support::{Home, client, misused};

/// A client that sends its request's head a byte at a time, or never, does not
/// keep its connection.
#[test]
fn slow_clients_are_cut_off() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let connect = |start: &[u8]| {
        let mut socket = TcpStream::connect(serve.address()).unwrap();
        socket.write_all(start).unwrap();
        socket
    };
    let sockets = [connect(b""), connect(b"POST /login HTTP/1.1\r\nhost: x\r\n")];
    for mut socket in sockets {
        let mut rest = Vec::new();
        // Ends when the server hangs up, whether with an answer or without.
        let _ = socket.read_to_end(&mut rest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_what_is_under_way_end() {
    let home = Home::new();
    let mut serve = home.serve(&[]);
    let mut socket = TcpStream::connect(serve.address()).unwrap();
    let body = credentials().to_string();
    write!(
        socket,
        "POST /login HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    // The head is on its way to be served before the signal: an answered
    // request on another connection came after it.
    assert_eq!(client().get(serve.at("/healthz")).send().await.unwrap().status(), 200);
    serve.signal("TERM");
    while client().get(serve.at("/healthz")).send().await.is_ok() {}
    socket.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(serve.wait(), Some(0));
}

#[test]
fn serve_refuses_what_is_not_safe_and_says_what_to_do() {
    let home = Home::new();
    let (data, keys) = (home.path("data"), home.path("keys"));
    let serve = |listen: &'static str, keys: &str, more: &[&str], hint: &str| {
        let mut args = vec!["serve", "--listen", listen, "--data", &data, "--keys", keys];
        args.extend(more);
        misused(&args, hint);
    };
    serve("0.0.0.0:0", &keys, &[], "--behind-tls-proxy");
    serve("[::]:0", &keys, &[], "--tls-cert");
    serve("127.0.0.1:0", &home.path("nothing"), &[], "hallpass key init");
    serve("nonsense", &keys, &[], "--listen");
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/keys/test");
    let copy = home.path("published");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(published).unwrap() {
        let file = file.unwrap();
        let to = std::path::Path::new(&copy).join(file.file_name());
        std::fs::copy(file.path(), &to).unwrap();
        std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    serve("127.0.0.1:0", &copy, &[], "test key");
    for (config, hint) in [
        ("colour = 1", "colour"),
        ("[lifetimes]\nidle_timeout = \"fortnight\"", "15m"),
        ("[lifetimes]\nidle_timeout = \"13h\"", "idle_timeout"),
        ("[lifetimes]\nabsolute_lifetime = \"500days\"", "absolute_lifetime"),
        ("[lifetimes]\nleeway = \"61s\"", "leeway"),
        ("[lifetimes]\nidle_timeout = \"1500ms\"", "whole seconds"),
        ("[lifetimes]\ntoken_max_age = \"1h\"\nidle_timeout = \"30m\"", "idle_timeout"),
        ("[lifetimes.remembered]\nidle_timeout = \"31d\"", "remembered: idle_timeout"),
        ("[lifetimes.remembered]\nleeway = \"1s\"", "leeway is the same"),
        ("[lifetimes.remembered.remembered]\n", "remembered"),
        ("[tokens]\nmax_characters = 4001", "4000"),
        ("base_path = \"x\"", "base_path"),
        ("return_origins = [\"https://a.example/x\"]", "return_origins"),
        ("= nonsense", "c.toml"),
    ] {
        let path = home.write("c.toml", config);
        serve("127.0.0.1:0", &keys, &["--config", path.to_str().unwrap()], hint);
    }
}
