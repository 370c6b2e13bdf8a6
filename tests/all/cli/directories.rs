//! Files and directories that others can write to are refused: keys, data,
//! caches, pinned keys.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::{Home, client, misused, ok};

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A key that another user puts into the directory could sign for any user.
#[test]
fn a_key_directory_that_others_can_write_to_is_refused() {
    let home = Home::new();
    let (keys, data) = (home.path("keys"), home.path("data"));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", &data, "--keys", &keys];
    for mode in [0o777, 0o770, 0o702] {
        set_mode(&keys, mode);
        misused(&serve, &format!("chmod go-w {keys}"));
        misused(&["key", "list", "--dir", &keys], &format!("chmod go-w {keys}"));
        misused(&["token", "issue", "--dir", &keys, "--subject", "alice"], "others can write to");
    }
    set_mode(&keys, 0o755);
    ok(&["key", "list", "--dir", &keys], b"");
    // The sidecar file holds the key's use.
    let sidecar = fs::read_dir(&keys).unwrap().map(|file| file.unwrap().path());
    let sidecar = sidecar.into_iter().find(|file| file.extension().unwrap() == "json").unwrap();
    set_mode(&sidecar, 0o666);
    misused(&serve, &format!("chmod go-w {}", sidecar.display()));
}

#[test]
fn data_and_caches_that_others_can_write_to_are_refused() {
    let home = Home::new();
    let (keys, data, cache) = (home.path("keys"), home.path("data"), home.path("cache"));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", &data, "--keys", &keys];
    set_mode(&data, 0o777);
    misused(&serve, &format!("chmod go-w {data}"));
    misused(&["user", "list", "--data", &data], "others can write to");
    set_mode(&data, 0o700);

    fs::create_dir(&cache).unwrap();
    set_mode(&cache, 0o777);
    let pinned = home.write("feed-keys.cbor", ok(&["key", "export", "--use", "feed", "--dir", &keys], b""));
    let pinned = pinned.to_str().unwrap();
    let edge = ["edge", "--listen", "127.0.0.1:0", "--issuer", "http://127.0.0.1:9", "--trust", pinned];
    misused(&[&edge[..], &["--cache", &cache]].concat(), &format!("chmod go-w {cache}"));
    set_mode(pinned, 0o666);
    misused(&edge, &format!("chmod go-w {pinned}"));
}

/// Write access to the parent is enough to replace the directory.
#[test]
fn a_directory_that_others_can_replace_is_refused() {
    let home = Home::new();
    let open = home.folder().join("open");
    fs::create_dir(&open).unwrap();
    let keys = open.join("keys");
    ok(&["key", "init", "--dir", keys.to_str().unwrap()], b"");
    let list = ["key", "list", "--dir", keys.to_str().unwrap()];
    set_mode(&open, 0o777);
    misused(&list, &format!("chmod go-w {}", open.canonicalize().unwrap().display()));
    // Sticky, like /tmp: only the owner of an entry can rename it.
    set_mode(&open, 0o1777);
    ok(&list, b"");
    // The root of a Kubernetes secret volume is sticky too. A file that another
    // user creates there has another owner.
    set_mode(&keys, 0o1777);
    ok(&list, b"");
    set_mode(&keys, 0o700);
    // The target of a symbolic link is checked.
    let link = home.folder().join("link");
    symlink(&keys, &link).unwrap();
    ok(&["key", "list", "--dir", link.to_str().unwrap()], b"");
    set_mode(&keys, 0o777);
    misused(&["key", "list", "--dir", link.to_str().unwrap()], "others can write to");
}

/// Only root can change a file's owner. Without root, the test reports that it
/// was skipped.
#[test]
fn what_belongs_to_somebody_else_is_refused() {
    let home = Home::new();
    let keys = home.path("keys");
    let Ok(()) = std::os::unix::fs::chown(&keys, Some(12345), None) else {
        println!("skipped: only root can give a directory away");
        return;
    };
    misused(&["key", "list", "--dir", &keys], "belongs to user 12345");
    std::os::unix::fs::chown(&keys, Some(0), None).unwrap();
    let file = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    std::os::unix::fs::chown(&file, Some(12345), None).unwrap();
    misused(&["key", "list", "--dir", &keys], "run: chown 0");
}

/// A key set does not record the use of its keys.
#[tokio::test(flavor = "multi_thread")]
async fn session_keys_are_not_taken_for_feed_keys() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let keys = client().get(serve.at("/.well-known/hallpass/keys")).send().await.unwrap();
    let session_keys = home.write("session-keys.cbor", keys.bytes().await.unwrap());
    let trust = ["--issuer", &serve.url, "--trust", session_keys.to_str().unwrap()];
    let edge = [&["edge", "--listen", "127.0.0.1:0"][..], &trust].concat();
    misused(&edge, "hallpass key export --use feed");
}
