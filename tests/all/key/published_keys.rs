//! `keys/test/` is derived only from the phrases in [`TestKey`].
//! `HALLPASS_REGENERATE=1` rewrites it.

use std::path::PathBuf;

use hallpass::{Algorithm, ConfigError, KeyDir, KeyId, KeyUse, SigningKey, UnixTime};

use crate::support::test_keys::TestKey;

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("keys/test")
}

fn ours(key: TestKey) -> SigningKey {
    let usage = if key.usage() == "feed" { KeyUse::Feed } else { KeyUse::Session };
    SigningKey::from_seed(&key.seed(), usage, Algorithm::from_jose(key.jose()).unwrap()).unwrap()
}

#[test]
fn the_files_are_what_the_phrases_make() {
    for key in TestKey::ALL {
        let ours = ours(key);
        assert_eq!(*ours.id().as_bytes(), key.kid());
        let files = [
            ("pem", ours.to_pkcs8_pem().unwrap().to_string()),
            (
                "json",
                format!(
                    "{{\n  \"use\": \"{}\",\n  \"alg\": \"{}\",\n  \"created\": \"2026-01-01T00:00:00Z\",\n  \
                     \"activates\": \"2026-01-01T00:00:00Z\",\n  \"retires\": null\n}}\n",
                    key.usage(),
                    key.jose()
                ),
            ),
        ];
        for (extension, text) in files {
            let path = dir().join(format!("{}.{extension}", ours.id()));
            if std::env::var_os("HALLPASS_REGENERATE").is_some() {
                std::fs::create_dir_all(dir()).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{}", path.display());
        }
    }
    let pems = std::fs::read_dir(dir())
        .unwrap()
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "pem"));
    assert_eq!(pems.count(), TestKey::ALL.len(), "a key that is not in TestKey::ALL");
}

#[test]
fn they_are_known_as_published() {
    for key in TestKey::ALL {
        assert!(KeyId::from_bytes(key.kid()).is_published_test_key(), "{}", hex::encode(key.kid()));
    }
    let other = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
    assert!(!other.id().is_published_test_key());
}

/// Others can read a checkout, so the keys can't be used in place. A copy that is
/// closed to others is a normal key directory.
#[cfg(unix)]
#[test]
fn they_are_a_key_directory_once_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir()).unwrap() {
        let file = file.unwrap();
        let to = copy.path().join(file.file_name());
        std::fs::copy(file.path(), &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    assert!(
        matches!(KeyDir::open(copy.path()), Err(ConfigError::File { source, .. }) if source.to_string().contains("chmod 600"))
    );
    for file in std::fs::read_dir(copy.path()).unwrap() {
        std::fs::set_permissions(file.unwrap().path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let now = UnixTime::from_secs(crate::support::raw::NOW).unwrap();
    let keys = KeyDir::open(copy.path()).unwrap();
    assert_eq!(keys.key_set(KeyUse::Session, now).unwrap(), TestKey::key_set());
    assert_eq!(*keys.signing_key(KeyUse::Feed, now).unwrap().key.id().as_bytes(), TestKey::Feed.kid());
}
