//! The seeds in `fuzz/seeds/`: one of each kind of the test vectors.
//! `HALLPASS_REGENERATE=1` writes them again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::raw;
use crate::support::test_keys::TestKey;
use crate::wire::vectors;

/// File names below `fuzz/seeds/` and what is in them.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    for (kind, token) in vectors::one_of_each_kind() {
        // The targets take CBOR as well as text; CBOR is better to mutate.
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap_or_else(|_| token.clone().into_bytes());
        let kind = file_name(&kind);
        seeds.insert(format!("token_decode/{kind}"), bytes.clone());
        seeds.insert(format!("token_forged/{kind}"), bytes);
    }
    // Which token, how it is changed, where, and to what.
    for edit in [[0, 0, 0, 5], [1, 1, 1, 200], [2, 2, 2, 9], [3, 3, 3, 100], [0, 4, 4, 60], [1, 5, 5, 90]] {
        seeds.insert(format!("token_forged/edit-{}", edit[1]), edit.to_vec());
    }
    for (name, token) in vectors::of_application_claims() {
        if let Some(app) = application(&token) {
            seeds.insert(format!("app_claims/{}", file_name(&name)), app);
        }
    }
    // Key, R, s, and a damage: each way of making a signature once.
    for (r, s) in (0..4).flat_map(|r| (0..4).map(move |s| (r, s))) {
        let parts = [&[0x05, 0x04 | r, s, 0, 0][..], &[0x21; 96], b"payload"].concat();
        seeds.insert(format!("signature/{r}-{s}"), parts);
    }
    seeds.insert("signature/damaged".to_owned(), [&[1, 0, 0, 3, 4][..], &[7; 96]].concat());
    seeds.insert("signature/another-key".to_owned(), [&[0xe0, 3, 3, 0, 0][..], &[9; 96]].concat());
    let set = TestKey::key_set();
    seeds.insert("key_set/two.cbor".to_owned(), set.to_cose());
    seeds.insert("key_set/two.json".to_owned(), set.to_jwks().into_bytes());
    seeds.insert("key_set/empty.cbor".to_owned(), vec![0x80]);
    seeds.insert(
        "key_set/private.json".to_owned(),
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}]}"#.to_vec(),
    );
    seeds
}

fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

/// What stands after the application claims' label, which is the last.
fn application(token: &str) -> Option<Vec<u8>> {
    let bytes = raw::unbase64url(token);
    let label = raw::int(raw::label::APP);
    let at = bytes.windows(label.len()).position(|window| window == label)? + label.len();
    // The signature is the last 66 bytes.
    Some(bytes[at..bytes.len() - 66].to_vec())
}

#[test]
fn the_seeds_are_made_of_the_vectors() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let seeds = seeds();
    assert!(seeds.len() > 100, "{}", seeds.len());
    for (name, content) in &seeds {
        let path = dir.join(name);
        if std::env::var_os("HALLPASS_REGENERATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
        }
        assert_eq!(std::fs::read(&path).ok().as_ref(), Some(content), "{}", path.display());
    }
}
