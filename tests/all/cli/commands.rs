//! Snapshots of the command line's output, in `tests/all/cli/snapshots/`.
//! `INSTA_UPDATE=always` rewrites them.

use serde_json::{Value, json};

use crate::support::{Home, hallpass, ok, run};

/// A command's exit code and output, without the parts that differ from run to
/// run.
fn session(home: &Home, args: &[&str], stdin: &str) -> String {
    let args: Vec<_> = args.iter().map(|arg| arg.replace("DIR", home.folder().to_str().unwrap())).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let output = run(&args, stdin.as_bytes());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(home.folder().to_str().unwrap(), "DIR");
    let shown = text(args.join(" ").as_bytes());
    format!(
        "$ hallpass {shown}\n{}{}[{}]\n\n",
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap()
    )
}

#[test]
fn help_says_what_there_is() {
    let home = Home::new();
    let mut said = String::new();
    for args in [
        &["--help"][..],
        &["key", "--help"],
        &["key", "rotate", "--help"],
        &["token", "--help"],
        &["token", "verify", "--help"],
        &["serve", "--help"],
        &["edge", "--help"],
        &["revoke", "--help"],
        &["user", "--help"],
    ] {
        said.push_str(&session(&home, args, ""));
    }
    insta::assert_snapshot!(said);
}

/// Each error tells the reader what to do next.
#[test]
fn errors_say_what_to_do() {
    let home = Home::new();
    home.write("garbage", [0xff, 0x00, 0x13]);
    home.write("empty", "");
    home.write("text", "hello");
    home.write("private.jwks", r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}]}"#);
    std::fs::create_dir(home.path("no-keys")).unwrap();
    let mut said = String::new();
    for args in [
        &[][..],
        &["nonsense"],
        &["key", "list", "--dir", "DIR/nothing"],
        &["key", "init", "--dir", "DIR/keys"],
        &["key", "retire", "0123456789abcdef", "--dir", "DIR/keys"],
        &["key", "retire", "xyz", "--dir", "DIR/keys"],
        &["key", "new", "--use", "other", "--dir", "DIR/keys"],
        &["key", "export", "--dir", "DIR/no-keys"],
        &["token", "issue", "--dir", "DIR/no-keys", "--subject", "alice"],
        &["token", "issue", "--dir", "DIR/keys", "--subject", ""],
        &["token", "issue", "--dir", "DIR/keys", "--subject", "alice", "--claims", "{"],
        &["token", "issue", "--dir", "DIR/keys", "--subject", "alice", "--max-age", "soon"],
        &["token", "issue", "--dir", "DIR/keys", "--subject", "alice", "--max-age", "0s"],
        &["token", "issue", "--dir", "DIR/keys", "--subject", "alice", "--lifetime", "999d"],
        &["token", "verify", "x", "--keys", "DIR/nothing"],
        &["token", "verify", "x", "--keys", "DIR/garbage"],
        &["token", "verify", "x", "--keys", "DIR/empty"],
        &["token", "verify", "x", "--keys", "DIR/text"],
        &["token", "verify", "x", "--keys", "DIR/private.jwks"],
        &["token", "verify", "x", "--keys", "http://keys.example/"],
        &["token", "verify", "x", "--keys", "DIR/text", "--at", "yesterday"],
        &["token", "verify", "x", "--keys", "DIR/text", "--leeway", "2m"],
        &["token", "inspect", "x"],
        &["user", "add", "alice", "--data", "DIR/data"],
        &["user", "passwd", "nobody", "--data", "DIR/data"],
    ] {
        said.push_str(&session(&home, args, "long enough\n"));
    }
    insta::assert_snapshot!(said);
}

/// One valid token and each kind of invalid one, at a fixed time.
#[test]
fn verify_answers_a_line_for_a_line() {
    let home = Home::new();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/tokens.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(vectors).unwrap()).unwrap();
    let keys = home.write("keys.jwks", vectors["key_sets"]["session"].to_string());
    // The vectors for one verifier, by verdict.
    let plain: Vec<_> = vectors["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|vector| {
            vector["audience"].is_null()
                && vector["issuer"].is_null()
                && vector["key_set"] == "session"
                && vector["leeway"] == 5
                && vector["now"] == 1_790_000_010
                && !vector["token"].as_str().unwrap().contains('\n')
        })
        .collect();
    assert!(plain.len() > 300, "{}", plain.len());
    let lines: String = plain.iter().flat_map(|vector| [vector["token"].as_str().unwrap(), "\n"]).collect();
    let args = ["token", "verify", "-", "--keys", keys.to_str().unwrap(), "--at", "2026-09-21T14:13:30Z"];
    let output = run(&args, lines.as_bytes());
    assert_eq!(output.status.code(), Some(1), "not all were accepted");
    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), plain.len());
    for (vector, answer) in plain.iter().zip(answers) {
        assert_eq!(vector["verdict"], answer["verdict"], "{vector}");
        for same in ["reason", "detail", "session"] {
            if let Some(wanted) = vector.get(same) {
                assert_eq!(wanted, &answer[same], "{vector}");
            }
        }
    }
}

#[test]
fn an_issued_token_says_what_was_asked_for() {
    let home = Home::new();
    let keys = home.path("keys");
    let issue = |more: &[&str]| {
        let args: Vec<_> = [&["token", "issue", "--dir", &keys, "--subject", "alice"], more].concat();
        String::from_utf8(ok(&args, b"")).unwrap().trim().to_owned()
    };
    let export = |more: &[&str]| ok(&[&["key", "export", "--dir", &keys], more].concat(), b"");
    let token = issue(&[
        "--audience",
        "store",
        "--max-age",
        "90s",
        "--lifetime",
        "2h",
        "--claims",
        r#"{"b":[1,2.5],"a":null}"#,
    ]);
    for (name, set) in [("k.cbor", export(&[])), ("k.jwks", export(&["--format", "jwks"]))] {
        let file = home.write(name, set);
        // From the argument, and from stdin.
        for (given, stdin) in [(Some(token.as_str()), ""), (None, token.as_str())] {
            let mut args = vec!["token", "verify", "--audience", "store", "--keys", file.to_str().unwrap()];
            args.extend(given);
            let answer: Value = serde_json::from_slice(&ok(&args, stdin.as_bytes())).unwrap();
            assert_eq!(answer["verdict"], "accepted");
            assert_eq!(answer["session"]["claims"], json!({ "a": null, "b": [1, 2.5] }));
            assert_eq!(answer["session"]["audience"], "store");
            assert_eq!(answer["session"]["generation"], 0);
        }
    }
    // Neither a feed key nor a retired key verifies a token.
    let feed = home.write("feed.cbor", export(&["--use", "feed"]));
    let refused = run(&["token", "verify", &token, "--keys", feed.to_str().unwrap()], b"");
    assert!(String::from_utf8_lossy(&refused.stdout).contains("unknown_key"));
    // Wait, so that the two keys do not activate in the same second.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    ok(&["key", "rotate", "--now", "--dir", &keys], b"");
    let newer = issue(&[]);
    let kid = |token: &str| hallpass::danger::inspect(token).unwrap().json["key_id"].clone();
    assert_ne!(kid(&token), kid(&newer), "the newest key signs");
    ok(&["key", "retire", kid(&token).as_str().unwrap(), "--dir", &keys], b"");
    let file = home.write("k.cbor", export(&[]));
    let args = ["token", "verify", &token, "--audience", "store", "--keys", file.to_str().unwrap()];
    assert!(String::from_utf8_lossy(&run(&args, b"").stdout).contains("unknown_key"));
}

/// A long input does not use more memory, and invalid lines do not stop it.
#[test]
fn verify_takes_any_bytes_in_constant_memory() {
    let home = Home::new();
    let keys = home.write("k.cbor", ok(&["key", "export", "--dir", &home.path("keys")], b""));
    let mut input = vec![b'A'; 64 << 20];
    input.extend(b"\n\n\xff\xfe\x00\r\n");
    input.extend(b"x\n".repeat(200_000));
    // Limits the address space to 2 GB.
    let program = hallpass().get_program().to_str().unwrap().to_owned();
    let script = format!("ulimit -v 2000000; exec {program} token verify - --keys {}", keys.display());
    let mut child = std::process::Command::new("bash")
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &input));
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let lines = std::io::BufRead::lines(&mut stdout).inspect(|line| {
        assert!(line.as_ref().unwrap().contains("malformed"));
    });
    assert_eq!(lines.count(), 200_003);
    writer.join().unwrap().unwrap();
    let peak = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{peak}");
}
