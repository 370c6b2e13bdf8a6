//! `/openapi.json` says what there is: every route, and what real requests are
//! answered with.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Home, PASSWORD, Running, bearer, client};

const SERVICE: &str = "0123456789abcdef0123456789abcdef";
const OPERATOR: &str = "fedcba9876543210fedcba9876543210";

fn source(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The routes that a router is made of: `.route("PATH", get(…).post(…))`.
fn routes(code: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for part in code.split(".route(").skip(1) {
        let mut depth = 1;
        let end = part.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let part = &part[..end.unwrap()];
        // One whose path is no literal is the front page under another name.
        let Some(path) = part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
            continue;
        };
        for method in ["get", "post", "put", "patch", "delete"] {
            let called = part
                .match_indices(&format!("{method}("))
                .any(|(at, _)| !part[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            if called {
                found.insert((path.to_owned(), method.to_owned()));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_in_it() {
    let mut wanted = routes(&source("src/server/routes/mod.rs"));
    let operators = routes(&source("src/server/routes/admin.rs"));
    assert!(wanted.len() > 20 && operators.len() > 1, "the routers were not found");
    wanted.extend(operators);

    let home = Home::new();
    let config = home.write("c.toml", "base_path = \"/auth\"\n");
    let serve = home.serve(&["--config", config.to_str().unwrap()]);
    let answer = client().get(serve.at("/openapi.json")).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let mut served: Value = answer.json().await.unwrap();
    let documented: BTreeSet<(String, String)> = served["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(documented, wanted);

    assert_eq!(served["servers"], json!([{ "url": "/auth" }]));
    served["servers"] = json!([{ "url": "/" }]);
    let committed: Value = serde_json::from_str(&source("docs/openapi.json")).unwrap();
    assert!(served == committed, "docs/openapi.json is old");
}

#[test]
fn the_walk_finds_routes() {
    let code = "Router::new().route(\"/a\", get(x::y))\n.route(\n \"/b/{id}\",\n post(|| forget()).delete(z),\n)\n.route(&format!(\"{b}/\"), get(c))";
    let found: Vec<_> = routes(code).into_iter().map(|(path, method)| format!("{method} {path}")).collect();
    assert_eq!(found, ["get /a", "delete /b/{id}", "post /b/{id}"]);
}

/// Checks a value against a schema, for the features that the document uses.
fn conforms(api: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(to) = schema["$ref"].as_str() {
        return conforms(api, api.pointer(to.trim_start_matches('#')).ok_or(to)?, value);
    }
    for one in ["oneOf", "anyOf"] {
        if let Some(schemas) = schema[one].as_array() {
            let fits = schemas.iter().any(|schema| conforms(api, schema, value).is_ok());
            return if fits { Ok(()) } else { Err(format!("{value} is none of {schemas:?}")) };
        }
    }
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return Err(format!("{value} is {kind}, not {kinds:?}"));
    }
    if let (Some(pattern), Value::String(text)) = (schema["pattern"].as_str(), value) {
        assert_eq!(pattern, "^[0-9a-f]{32}$", "the one that is checked here");
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(format!("{text} is no id"));
        }
    }
    if let Value::Array(items) = value {
        items.iter().try_for_each(|item| conforms(api, &schema["items"], item))?;
    }
    if let Value::Object(members) = value {
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(required) {
                return Err(format!("{required} is missing in {value}"));
            }
        }
        for (name, member) in members {
            let schema = schema["properties"].get(name).ok_or_else(|| format!("{name} is not documented"))?;
            conforms(api, schema, member).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    Ok(())
}

/// Sends a request and checks the answer against the document.
async fn check(api: &Value, template: &str, method: &str, status: u16, request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let at = format!("{method} {template} {status}");
    assert_eq!(answer.status(), status, "{at}");
    let documented = &api["paths"][template][method]["responses"][status.to_string()];
    assert!(documented.is_object(), "{at} is not documented");
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let body = answer.bytes().await.unwrap();
    let Some(kind) = kind.filter(|_| !body.is_empty()) else {
        assert!(documented.get("content").is_none(), "{at} has a body: {documented}");
        return Value::Null;
    };
    let kind = kind.split(';').next().unwrap();
    let content = &documented["content"][kind];
    assert!(content.is_object(), "{at} has {kind}: {documented}");
    let Ok(value) = serde_json::from_slice::<Value>(&body) else { return Value::Null };
    conforms(api, &content["schema"], &value).unwrap_or_else(|why| panic!("{at}: {why}"));
    value
}

struct Call<'a> {
    api: &'a Value,
    serve: &'a Running,
}

impl Call<'_> {
    async fn by(
        &self,
        token: &str,
        method: Method,
        template: &str,
        status: u16,
        body: Option<Value>,
    ) -> Value {
        let request = client().request(method.clone(), self.serve.at(template));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let request = if let Some(body) = body { request.json(&body) } else { request };
        check(self.api, template, &method.as_str().to_ascii_lowercase(), status, request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_answers_are_as_it_says() {
    let home = Home::new();
    let config = home.write(
        "c.toml",
        "[tokens]\naudience = \"a\"\n[[hosts]]\norigin = \"https://b.example\"\naudience = \"b\"\n",
    );
    let arguments = ["--config", config.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"];
    let environment = [("HALLPASS_SERVICE_TOKEN", SERVICE), ("HALLPASS_OPERATOR_TOKEN", OPERATOR)];
    let serve = home.serve_with(&arguments, &environment);
    let api: Value = client().get(serve.at("/openapi.json")).send().await.unwrap().json().await.unwrap();
    let call = Call { api: &api, serve: &serve };
    let (get, post) = (Method::GET, Method::POST);
    let password = || Some(json!({ "password": PASSWORD }));
    let credentials = || Some(json!({ "username": "alice", "password": PASSWORD }));
    let token = &*bearer(&serve.url).await;

    call.by("", post.clone(), "/login", 200, credentials()).await;
    call.by("", post.clone(), "/login", 401, Some(json!({ "username": "alice", "password": "x" }))).await;
    call.by("", post.clone(), "/login", 422, Some(json!({}))).await;
    let malformed = client().post(serve.at("/login")).header("content-type", "application/json").body("{");
    check(&api, "/login", "post", 400, malformed).await;
    check(&api, "/login", "post", 415, client().post(serve.at("/login")).body("x")).await;
    let cross = client().post(serve.at("/login")).header("sec-fetch-site", "cross-site").json(&credentials());
    check(&api, "/login", "post", 403, cross).await;
    for path in ["/session", "/sessions"] {
        call.by(token, get.clone(), path, 200, None).await;
        call.by("", get.clone(), path, 401, None).await;
    }
    call.by(token, post.clone(), "/renew", 200, None).await;
    call.by("", post.clone(), "/renew", 401, None).await;
    call.by(token, post.clone(), "/reauthenticate", 200, password()).await;
    call.by(token, post.clone(), "/tickets", 200, Some(json!({ "audience": "b" }))).await;
    call.by(token, post.clone(), "/tickets", 422, Some(json!({ "audience": "x" }))).await;
    let redeem = Some(json!({ "ticket": "x", "audience": "b" }));
    call.by("", post.clone(), "/tickets/redeem", 401, redeem).await;
    let hop = |query: &str| client().get(serve.at(&format!("/hop?{query}")));
    check(&api, "/hop", "get", 303, hop("origin=https://b.example&state=x")).await;
    let hopped = hop("origin=https://b.example&state=x").bearer_auth(token).send().await.unwrap();
    let to = hopped.headers()["location"].to_str().unwrap().to_owned();
    let ticket = to.split("ticket=").nth(1).unwrap().split('&').next().unwrap();
    let redeem = Some(json!({ "ticket": ticket, "audience": "b" }));
    call.by("", post.clone(), "/tickets/redeem", 200, redeem).await;
    check(&api, "/hop", "get", 400, hop("origin=https://x.example&state=x")).await;
    call.by(token, post.clone(), "/sessions/revoke-others", 200, password()).await;
    let subject = || Some(json!({ "subject": "bob" }));
    let started = call.by(SERVICE, post.clone(), "/sessions", 200, subject()).await;
    call.by("", post.clone(), "/sessions", 401, subject()).await;
    assert_eq!(started["session"]["subject"], "bob");
    let missing = client().delete(serve.at("/sessions/00")).bearer_auth(token);
    check(&api, "/sessions/{id}", "delete", 404, missing).await;
    for path in [
        "/",
        "/style.css",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/.well-known/hallpass/keys",
        "/.well-known/hallpass/feed-keys",
        "/.well-known/jwks.json",
    ] {
        call.by("", get.clone(), path, 200, None).await;
    }
    call.by("", get.clone(), "/account", 303, None).await;
    call.by(token, get.clone(), "/account", 200, None).await;
    call.by("", get.clone(), "/revocations", 200, None).await;
    let odd = client().get(serve.at("/revocations?after=x"));
    check(&api, "/revocations", "get", 400, odd).await;
    let operator = client().post(format!("{}/admin/revoke", serve.admin.as_ref().unwrap()));
    let operator = operator.bearer_auth(OPERATOR).json(&json!({ "subject": "bob" }));
    check(&api, "/admin/revoke", "post", 200, operator).await;
    call.by(token, post, "/logout", 204, None).await;
}
