//! The JavaScript client (`clients/js/`) in Node, deno, workerd and Chromium:
//! each passes the same cases, and follows a session of a real issuer to its end.
//!
//! `tests/peers/setup-node.sh` installs deno and workerd into
//! `target/node-peers`.

mod docs;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::{Home, PASSWORD, Running, client, needs};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the packages that `setup-node.sh` installs.
fn peer(file: &str) -> Option<PathBuf> {
    let path = root().join("target/node-peers/node_modules").join(file);
    if !needs("node") {
        return None;
    }
    if !path.exists() {
        let how = format!("{file} is not in target/node-peers; make it with tests/peers/setup-node.sh");
        assert!(std::env::var_os("HALLPASS_TEST_ALL").is_none(), "{how}");
        eprintln!("skipped: {how}");
        return None;
    }
    Some(path)
}

fn deno() -> Option<PathBuf> {
    peer("@deno/linux-x64-glibc/deno")
}

fn workerd() -> Option<PathBuf> {
    peer("@cloudflare/workerd-linux-64/bin/workerd")
}

/// deno with its own cache and without update checks.
fn deno_command(deno: &Path, cache: &Path) -> Command {
    let mut command = Command::new(deno);
    command.env("DENO_DIR", cache).env("DENO_NO_UPDATE_CHECK", "1").env("NO_COLOR", "1");
    command
}

/// Returns the output of a program, which must succeed.
fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{said}\n{log}");
    said.into_owned()
}

/// A program that serves until it is dropped.
pub(crate) struct Server {
    child: Child,
    /// The port that it printed.
    pub(crate) port: u16,
}

impl Server {
    /// Waits for the line in which the program prints its port.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        // workerd prints an object with the port, the others only the port.
        let Some(port) = said["port"].as_u64().or(said.as_u64()) else {
            let mut log = String::new();
            let _ = child.kill();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("{command:?} said {line:?}, log: {log}");
        };
        let mut stderr = child.stderr.take().unwrap();
        // Drain the rest of the output so that a full pipe does not block the
        // program.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { child, port: port.try_into().unwrap() }
    }

    fn workerd(workerd: &Path, config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(workerd);
        command.arg("serve").arg(config).args(["--socket-addr", "http=127.0.0.1:0", "--control-fd=1"]);
        Self::start(command.envs(environment.iter().copied()))
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A web server for a folder, with an issuer under `/issuer`.
struct Site {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Site {
    async fn start(folder: &Path, issuer: &str) -> Self {
        let app = Router::new().fallback(page).with_state((folder.to_owned(), issuer.to_owned()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { url, task: tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }) }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn page(State((folder, issuer)): State<(PathBuf, String)>, request: Request) -> Response {
    let target = request.uri().path_and_query().unwrap().as_str().to_owned();
    if let Some(path) = target.strip_prefix("/issuer") {
        return forward(&format!("{issuer}{path}"), request).await;
    }
    let kind = match target.rsplit('.').next() {
        Some("js") => "text/javascript",
        Some("json") => "application/json",
        _ => "text/html",
    };
    match std::fs::read(folder.join(target.trim_start_matches('/'))) {
        Ok(content) => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        Err(_) if target == "/" => ([(header::CONTENT_TYPE, kind)], "<!doctype html>").into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn forward(url: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut asked = client().request(parts.method, url);
    for name in [header::CONTENT_TYPE, header::AUTHORIZATION] {
        if let Some(value) = parts.headers.get(&name) {
            asked = asked.header(name, value);
        }
    }
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let answer = asked.body(body).send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap()).into_response()
}

/// Returns the names of all cases without running them. Every vector has one.
fn names() -> Vec<String> {
    let vectors = |name: &str| root().join("tests/vectors").join(name);
    let said = output(
        Command::new("node")
            .arg(root().join("clients/js/test/main.js"))
            .arg("names")
            .args([vectors("tokens.json"), vectors("feeds.json")]),
    );
    let names: Vec<String> = serde_json::from_str(&said).unwrap();
    let mut counted = 0;
    for (file, prefix) in [("tokens.json", "token "), ("feeds.json", "feed ")] {
        let file: Value = serde_json::from_slice(&std::fs::read(vectors(file)).unwrap()).unwrap();
        for vector in file["vectors"].as_array().unwrap() {
            let name = format!("{prefix}{}", vector["name"].as_str().unwrap());
            assert!(names.contains(&name), "no case for {name}");
            counted += 1;
        }
    }
    assert!(names.len() >= counted + 10, "the client's own cases");
    names
}

/// Checks the results of `run` in `cases.js`: every case ran and none failed.
fn all_passed(runtime: &str, results: &Value) {
    let results: BTreeMap<&str, &Value> = results
        .as_array()
        .unwrap_or_else(|| panic!("{runtime}: {results}"))
        .iter()
        .map(|result| (result["name"].as_str().unwrap(), &result["error"]))
        .collect();
    let failed: Vec<_> = results.iter().filter(|(_, error)| !error.is_null()).collect();
    assert!(failed.is_empty(), "{runtime}: {} failed: {failed:#?}", failed.len());
    let names = names();
    let missing: Vec<_> = names.iter().filter(|name| !results.contains_key(name.as_str())).collect();
    assert!(missing.is_empty(), "{runtime} left out {missing:?}");
    assert_eq!(results.len(), names.len(), "{runtime}");
}

/// Does the same for a test runner's TAP output.
fn all_passed_in_tap(runtime: &str, tap: &str) {
    let result = |line: &str| {
        let (ok, rest) = line.strip_prefix("not ").map_or((true, line), |rest| (false, rest));
        let (_, name) = rest.strip_prefix("ok ")?.split_once(" - ")?;
        // Node escapes characters that TAP would read as a directive.
        let name = name.replace("\\#", "#").replace("\\\\", "\\");
        Some(json!({ "name": name, "error": if ok { Value::Null } else { json!(tap) } }))
    };
    all_passed(runtime, &tap.lines().filter_map(result).collect());
}

/// Checks the output of `end_to_end.js`.
fn saw_it_through(runtime: &str, said: &Value) {
    let session = &said["session"];
    assert_eq!(session["subject"], "alice", "{runtime}: {said}");
    assert_eq!(session["claims"], json!({ "roles": ["admin"] }), "{runtime}");
    let accepted = json!({ "verdict": "accepted", "session": session });
    let revoked = json!({ "verdict": "refused", "reason": "revoked", "detail": "session" });
    // The last two steps follow the log-out: before and after a feed update.
    assert_eq!(said["steps"], json!([accepted, accepted, accepted, accepted, revoked]), "{runtime}");
}

fn issuer() -> (Home, Running) {
    let home = Home::new();
    let serve = home.serve(&[]);
    (home, serve)
}

#[test]
fn node() {
    if !needs("node") {
        return;
    }
    let test = root().join("clients/js/test");
    let mut node = Command::new("node");
    let tap = output(node.args(["--test", "--test-reporter=tap"]).arg(test.join("cases.test.js")));
    all_passed_in_tap("node", &tap);
    let (_home, serve) = issuer();
    let mut node = Command::new("node");
    let said = output(node.arg(test.join("main.js")).args(["end-to-end", &serve.url, "alice", PASSWORD]));
    saw_it_through("node", &serde_json::from_str(&said).unwrap());
}

#[test]
fn deno_too() {
    let Some(deno) = deno() else { return };
    let (home, serve) = issuer();
    let cache = home.folder().join("deno");
    let test = root().join("clients/js/test");
    let mut command = deno_command(&deno, &cache);
    command.args(["test", "--no-config", "--no-lock", "--allow-read", "--reporter=tap"]);
    all_passed_in_tap("deno", &output(command.arg(test.join("cases.test.js"))));
    let mut command = deno_command(&deno, &cache);
    command.args(["run", "--no-config", "--no-lock", "--allow-net=127.0.0.1"]).arg(test.join("main.js"));
    let said = output(command.args(["end-to-end", &serve.url, "alice", PASSWORD]));
    saw_it_through("deno", &serde_json::from_str(&said).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn workerd_too() {
    let Some(workerd) = workerd() else { return };
    let (_home, serve) = issuer();
    let server = Server::workerd(&workerd, &root().join("clients/js/test/workerd.capnp"), &[]);
    let results = client().get(format!("{}/cases", server.url())).send().await.unwrap();
    all_passed("workerd", &results.json().await.unwrap());
    let asked = client().post(format!("{}/end-to-end", server.url()));
    let said = asked.json(&json!([serve.url, "alice", PASSWORD])).send().await.unwrap();
    saw_it_through("workerd", &said.json().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_too() {
    if !needs("chromedriver") || !needs("chromium") || !needs("node") {
        return;
    }
    let (_home, serve) = issuer();
    let site = Site::start(root(), &serve.url).await;
    let browser = Browser::start(false, 1200).await;
    browser.client.goto(&site.url).await.unwrap();
    let say = async |script: &str, args: Vec<Value>| {
        let script = format!(
            "const done = arguments[arguments.length - 1]; const args = [...arguments].slice(0, -1);
             (async () => {{ {script} }})().then(done, (error) => done(`${{error.stack}}`));"
        );
        browser.client.execute_async(&script, args).await.unwrap()
    };
    let results = say(
        "const { run } = await import('/clients/js/test/cases.js');
         const text = async (name) => (await fetch(`/tests/vectors/${name}.json`)).text();
         return run(await text('tokens'), await text('feeds'));",
        vec![],
    )
    .await;
    all_passed("chromium", &results);
    let said = say(
        "const { endToEnd } = await import('/clients/js/test/end_to_end.js');
         return JSON.parse(JSON.stringify(await endToEnd(...args)));",
        vec![json!(format!("{}/issuer", site.url)), json!("alice"), json!(PASSWORD)],
    )
    .await;
    saw_it_through("chromium", &said);
    browser.stop().await;
}

#[test]
fn it_is_one_small_module_without_dependencies() {
    let module = std::fs::read_to_string(root().join("clients/js/hallpass.js")).unwrap();
    assert!(module.lines().count() < 350, "{} lines", module.lines().count());
    for word in ["import ", "import(", "require(", "process.", "Deno", "Buffer", "eval("] {
        let line = module.lines().find(|line| line.contains(word));
        assert!(line.is_none(), "{word}: {line:?}");
    }
    let package = std::fs::read(root().join("clients/js/package.json")).unwrap();
    let package: Value = serde_json::from_slice(&package).unwrap();
    for kind in ["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"] {
        assert!(package.get(kind).is_none(), "{kind}");
    }
    for file in [&package["exports"]["."]["default"], &package["exports"]["."]["types"], &package["types"]] {
        assert!(root().join("clients/js").join(file.as_str().unwrap()).exists(), "{file}");
    }
}

#[test]
fn its_types_hold() {
    let Some(compiler) = peer("typescript/bin/tsc") else { return };
    let mut command = Command::new("node");
    command.arg(compiler).args([
        "--noEmit",
        "--strict",
        "--exactOptionalPropertyTypes",
        "--target",
        "es2022",
    ]);
    command.args(["--module", "nodenext", "--lib", "es2022", "--ignoreConfig"]);
    output(command.arg(root().join("clients/js/test/types.ts")));
}
