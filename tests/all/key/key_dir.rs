//! The key directory: which key signs, who may read it, and what a crash leaves.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hallpass::key::{Activation, KeyState};
use hallpass::{Algorithm, ConfigError, KeyDir, KeyId, KeyUse, SigningKey, UnixTime};
use tempfile::TempDir;

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(1_790_000_000 + seconds).unwrap()
}

fn new_dir() -> (TempDir, KeyDir) {
    let dir = tempfile::tempdir().unwrap();
    let keys = KeyDir::create(dir.path().join("keys")).unwrap();
    (dir, keys)
}

fn add(keys: &mut KeyDir, usage: KeyUse, activates: u64) -> KeyId {
    keys.add(usage, Algorithm::EdDsa, at(0), at(activates)).unwrap()
}

fn signs(keys: &KeyDir, usage: KeyUse, now: u64) -> Option<KeyId> {
    keys.signing_key(usage, at(now)).ok().map(|entry| entry.key.id())
}

fn state(keys: &KeyDir, id: KeyId, now: u64) -> KeyState {
    keys.state(keys.entries().find(|entry| entry.key.id() == id).unwrap(), at(now))
}

fn why(result: Result<KeyDir, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

fn pem(keys: &KeyDir, id: KeyId) -> std::path::PathBuf {
    keys.path().join(format!("{id}.pem"))
}

fn sidecar(keys: &KeyDir, id: KeyId) -> std::path::PathBuf {
    keys.path().join(format!("{id}.json"))
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_written_is_read_again() {
    let (_dir, mut keys) = new_dir();
    let a = add(&mut keys, KeyUse::Session, 0);
    let b = keys.add(KeyUse::Feed, Algorithm::Ed25519, at(0), at(60)).unwrap();
    let again = KeyDir::open(keys.path()).unwrap();
    let ids: Vec<_> = again.entries().map(|entry| entry.key.id()).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&a) && ids.contains(&b) && ids.is_sorted());
    for entry in again.entries() {
        let before = keys.entries().find(|before| before.key.id() == entry.key.id()).unwrap();
        assert_eq!(entry.key.usage(), before.key.usage());
        assert_eq!(entry.key.algorithm(), before.key.algorithm());
        assert_eq!(entry.key.verifying_key(), before.key.verifying_key());
        assert_eq!(
            (entry.created, entry.activates, entry.retires),
            (before.created, before.activates, before.retires)
        );
    }
}

#[cfg(unix)]
#[test]
fn private_keys_are_their_owners_alone() {
    let (_dir, mut keys) = new_dir();
    let id = add(&mut keys, KeyUse::Session, 0);
    assert_eq!(mode(keys.path()), 0o700);
    assert_eq!(mode(&pem(&keys, id)), 0o600);
    for open in [0o640, 0o604, 0o644, 0o660, 0o601, 0o666] {
        set_mode(&pem(&keys, id), open);
        let error = why(KeyDir::open(keys.path()));
        assert!(error.contains("chmod 600") && error.contains(&format!("{open:04o}")), "{error}");
    }
    set_mode(&pem(&keys, id), 0o400);
    assert!(KeyDir::open(keys.path()).is_ok());
}

/// CVE-2025-47278: tokens were signed with the oldest key.
#[test]
fn the_newest_active_key_signs_whatever_the_order() {
    // Ids are effectively random, so repeating tests different orders.
    for _ in 0..8 {
        let (_dir, mut keys) = new_dir();
        let second = add(&mut keys, KeyUse::Session, 100);
        let first = add(&mut keys, KeyUse::Session, 0);
        let third = add(&mut keys, KeyUse::Session, 200);
        let feed = add(&mut keys, KeyUse::Feed, 300);
        for keys in [&keys, &KeyDir::open(keys.path()).unwrap()] {
            assert_eq!(signs(keys, KeyUse::Session, 0), Some(first));
            assert_eq!(signs(keys, KeyUse::Session, 99), Some(first));
            assert_eq!(signs(keys, KeyUse::Session, 100), Some(second));
            assert_eq!(signs(keys, KeyUse::Session, 200), Some(third));
            assert_eq!(signs(keys, KeyUse::Session, 999), Some(third));
            assert_eq!(signs(keys, KeyUse::Feed, 299), None);
            assert_eq!(signs(keys, KeyUse::Feed, 300), Some(feed));
            assert_eq!(state(keys, first, 150), KeyState::Superseded);
            assert_eq!(state(keys, second, 150), KeyState::Active);
            assert_eq!(state(keys, third, 150), KeyState::Pending);
        }
    }
}

#[test]
fn two_keys_of_one_second_are_told_apart_the_same_way_each_time() {
    let (_dir, mut keys) = new_dir();
    let (a, b) = (add(&mut keys, KeyUse::Session, 0), add(&mut keys, KeyUse::Session, 0));
    assert_eq!(signs(&keys, KeyUse::Session, 0), Some(a.max(b)));
    assert_eq!(signs(&KeyDir::open(keys.path()).unwrap(), KeyUse::Session, 0), Some(a.max(b)));
}

#[test]
fn rotation_publishes_five_minutes_ahead() {
    let (_dir, mut keys) = new_dir();
    let old = keys.add(KeyUse::Session, Algorithm::Ed25519, at(0), at(0)).unwrap();
    let new = keys.rotate(KeyUse::Session, at(1000), Activation::Announced).unwrap();
    assert_eq!(signs(&keys, KeyUse::Session, 1000 + 299), Some(old));
    assert_eq!(signs(&keys, KeyUse::Session, 1000 + 300), Some(new));
    assert_eq!(state(&keys, old, 1300), KeyState::Superseded);
    // The new key is published at once, with the old key's algorithm. The old key
    // stays.
    let published = keys.key_set(KeyUse::Session, at(1000)).unwrap();
    assert_eq!(published.get(new, at(1000)).unwrap().algorithm(), Algorithm::Ed25519);
    assert!(published.get(old, at(1000)).is_some());
    let at_once = keys.rotate(KeyUse::Session, at(2000), Activation::Immediate).unwrap();
    assert_eq!(signs(&keys, KeyUse::Session, 2000), Some(at_once));
    // There is no feed key to replace.
    assert!(
        matches!(keys.rotate(KeyUse::Feed, at(2000), Activation::Immediate), Err(ConfigError::Key(why)) if why.contains("hallpass key new"))
    );
}

#[test]
fn a_retired_key_is_gone_from_its_second_on() {
    let (_dir, mut keys) = new_dir();
    let old = add(&mut keys, KeyUse::Session, 0);
    // The only signing key can't be retired.
    assert!(matches!(keys.retire(old, at(100)), Err(ConfigError::Key(why)) if why.contains("rotate --now")));
    add(&mut keys, KeyUse::Feed, 0);
    assert!(keys.retire(old, at(100)).is_err(), "a feed key signs no tokens");
    let new = add(&mut keys, KeyUse::Session, 200);
    assert!(keys.retire(old, at(199)).is_err(), "its successor does not sign yet");
    keys.retire(old, at(200)).unwrap();
    for keys in [&keys, &KeyDir::open(keys.path()).unwrap()] {
        assert_eq!(state(keys, old, 199), KeyState::Active);
        assert_eq!(state(keys, old, 200), KeyState::Retired);
        assert_eq!(signs(keys, KeyUse::Session, 199), Some(old));
        assert_eq!(signs(keys, KeyUse::Session, 200), Some(new));
        // A key set made earlier includes the retirement.
        let set = keys.key_set(KeyUse::Session, at(199)).unwrap();
        assert!(set.get(old, at(199)).is_some() && set.get(old, at(200)).is_none());
        assert_eq!(keys.key_set(KeyUse::Session, at(200)).unwrap().iter().len(), 1);
    }
    assert!(
        matches!(keys.retire(KeyId::from_bytes([0; 8]), at(0)), Err(ConfigError::Key(why)) if why.contains("no key"))
    );
    assert!(matches!(new_dir().1.key_set(KeyUse::Session, at(0)), Err(ConfigError::Key(_))));
}

#[test]
fn a_directory_that_is_wrong_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    assert!(why(KeyDir::open(dir.path().join("none"))).contains("hallpass key init --dir"));
    assert!(
        matches!(KeyDir::open(dir.path()).unwrap().signing_key(KeyUse::Session, at(0)), Err(ConfigError::Key(why)) if why.contains("hallpass key new --use session"))
    );

    let (_dir, mut keys) = new_dir();
    let id = add(&mut keys, KeyUse::Session, 0);
    let good = fs::read_to_string(sidecar(&keys, id)).unwrap();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        fs::write(sidecar(&keys, id), good.replace(from, to)).unwrap();
        why(KeyDir::open(keys.path()))
    };
    assert!(with("\"session\"", "\"both\"").contains("must be \"session\" or \"feed\""));
    assert!(with("EdDSA", "ES256").contains("must be \"EdDSA\" or \"Ed25519\""));
    assert!(with("2026-09-21T14:13:20Z", "yesterday").contains("must be like 2026"));
    assert!(with("\"retires\": null", "\"retires\": \"x\"").contains("retires is \"x\""));
    assert!(with("\"use\"", "\"usage\"").contains("unknown field"));
    assert!(with("}", "").contains(".json"));
    fs::remove_file(sidecar(&keys, id)).unwrap();
    assert!(why(KeyDir::open(keys.path())).contains("each KID.pem needs the KID.json"));
}

#[test]
fn a_renamed_or_replaced_key_file_is_refused() {
    let (_dir, mut keys) = new_dir();
    let (a, b) = (add(&mut keys, KeyUse::Session, 0), add(&mut keys, KeyUse::Feed, 0));
    // A feed key copied over the session key would have both uses.
    fs::copy(pem(&keys, b), pem(&keys, a)).unwrap();
    assert!(why(KeyDir::open(keys.path())).contains(&format!("must be named {b}.pem")));
    fs::remove_file(pem(&keys, a)).unwrap();
    fs::rename(pem(&keys, b), keys.path().join("mine.pem")).unwrap();
    fs::rename(sidecar(&keys, b), keys.path().join("mine.json")).unwrap();
    assert!(why(KeyDir::open(keys.path())).contains(&format!("must be named {b}.pem")));
}

#[cfg(unix)]
#[test]
fn files_that_are_no_keys_are_refused() {
    let (_dir, mut keys) = new_dir();
    let id = add(&mut keys, KeyUse::Session, 0);
    for (content, expected) in [
        (String::new(), "not an Ed25519 private key"),
        ("x".repeat(20_000), "so not a key"),
        (
            "-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n".to_owned(),
            "not an Ed25519 private key",
        ),
    ] {
        fs::write(pem(&keys, id), content).unwrap();
        assert!(why(KeyDir::open(keys.path())).contains(expected));
    }
    fs::write(pem(&keys, id), [0xff, 0xfe]).unwrap();
    assert!(KeyDir::open(keys.path()).is_err());
}

/// A crash during `add` can leave a sidecar without a key, or a temporary file.
/// Neither is a key.
#[test]
fn what_a_crash_leaves_is_no_key() {
    let (_dir, mut keys) = new_dir();
    let id = add(&mut keys, KeyUse::Session, 0);
    let other = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
    fs::copy(sidecar(&keys, id), sidecar(&keys, other.id())).unwrap();
    let text = other.to_pkcs8_pem().unwrap();
    for name in [".hallpass-Ab12Cd", ".hallpass-pem", "notes.txt", "old.pem~", "pem"] {
        fs::write(keys.path().join(name), &text.as_bytes()[..text.len() / 2]).unwrap();
    }
    let again = KeyDir::open(keys.path()).unwrap();
    assert_eq!(again.entries().map(|entry| entry.key.id()).collect::<Vec<_>>(), [id]);
}

/// Files are replaced atomically: a reader sees the old or the new one, and no
/// temporary file is left.
#[test]
fn readers_never_see_half_a_file() {
    let (_dir, mut keys) = new_dir();
    let ids = [add(&mut keys, KeyUse::Session, 0), add(&mut keys, KeyUse::Session, 1)];
    let path = keys.path().to_owned();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for n in 0..100_u64 {
                keys.retire(ids[usize::from(n % 2 == 1)], at(1_000_000 - n)).unwrap();
            }
            keys
        });
        while !writer.is_finished() {
            let seen = KeyDir::open(&path).unwrap();
            assert_eq!(seen.entries().count(), 2);
        }
    });
    let names: Vec<_> = fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{names:?}");
}

#[test]
fn far_times_do_not_overflow() {
    let (_dir, mut keys) = new_dir();
    keys.add(KeyUse::Session, Algorithm::EdDsa, UnixTime::MAX, UnixTime::MAX).unwrap();
    assert!(keys.signing_key(KeyUse::Session, UnixTime::MAX).is_ok());
    let next = keys.rotate(KeyUse::Session, UnixTime::MAX, Activation::Announced).unwrap();
    let again = KeyDir::open(keys.path()).unwrap();
    assert!(again.entries().any(|entry| entry.key.id() == next && entry.activates == UnixTime::MAX));
    assert_eq!(UnixTime::MAX.saturating_add(Duration::from_mins(5)), UnixTime::MAX);
}
