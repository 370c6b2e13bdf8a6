//! The services of docs/proxies.md that keep WebSockets, behind nginx: they close
//! the sockets of a session when it ends.

use std::path::Path;
use std::process::Command;

use futures_util::{SinkExt as _, StreamExt as _};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::page;
use super::site::{PATIENCE, Proxy, Site};
use crate::clients::js::Server;
use crate::support::have;

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn open(site: &Site, token: &str) -> Socket {
    let mut request = format!("ws://{}/", site.host).into_client_request().unwrap();
    request.headers_mut().insert("cookie", format!("__Host-session={token}").parse().unwrap());
    request.headers_mut().insert("origin", format!("http://{}", site.host).parse().unwrap());
    let stream = tokio::net::TcpStream::connect(&site.address).await.unwrap();
    let stream = MaybeTlsStream::Plain(stream);
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

/// Sends a message and expects it back.
async fn echo(socket: &mut Socket) {
    socket.send(Message::text("hi")).await.unwrap();
    let answer = timeout(PATIENCE, socket.next()).await.expect("an echo").unwrap().unwrap();
    assert_eq!(answer.into_text().unwrap().as_str(), "hi");
}

/// Runs the program `name` of the page, in a folder of its own.
fn closes_at_log_out(name: &str, command: impl FnOnce(&Path) -> Command) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(name), page::file(name)).unwrap();
    let mut service = None;
    let site = Site::before(Proxy::Nginx, |edge, _| {
        let mut command = command(folder.path());
        command.current_dir(folder.path()).arg(name).env("EDGE", edge).env("PORT", "0");
        service.insert(Server::start(&mut command)).port
    });
    let Some(site) = site else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (token, bystander) = (site.log_in(), site.log_in());
    runtime.block_on(async {
        let mut sockets = [open(&site, &token).await, open(&site, &token).await];
        let mut other = open(&site, &bystander).await;
        for socket in sockets.iter_mut().chain([&mut other]) {
            echo(socket).await;
        }
        let out = site.ask_as(&token, "POST", "/.hallpass/logout", &[("Sec-Fetch-Site", "same-origin")]);
        assert_eq!(out.status, 204, "{out:?}");
        for socket in &mut sockets {
            let last = timeout(PATIENCE, socket.next()).await.expect("an end").unwrap().unwrap();
            let Message::Close(Some(frame)) = last else { panic!("{last:?}") };
            assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Policy, "revoked"));
        }
        echo(&mut other).await;
    });
}

#[test]
fn a_node_service_closes_its_sockets_at_log_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = root.join("target/node-peers/node_modules");
    if have(&modules.join("ws"), "tests/peers/setup-node.sh") {
        closes_at_log_out("sockets.mjs", |folder| {
            std::os::unix::fs::symlink(&modules, folder.join("node_modules")).unwrap();
            Command::new("node")
        });
    }
}

#[test]
fn a_python_service_closes_its_sockets_at_log_out() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/python");
    if have(&python, "tests/peers/setup.sh") {
        closes_at_log_out("sockets.py", |_| Command::new(&python));
    }
}
