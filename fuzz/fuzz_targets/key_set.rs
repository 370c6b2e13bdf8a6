//! Any bytes are refused or are a key set, which is the same in both formats.
#![no_main]

use hallpass::KeySet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(keys) = KeySet::from_bytes(data) else { return };
    assert!(keys.iter().len() > 0);
    let again = |bytes: &[u8]| KeySet::from_bytes(bytes).expect("what we write we read");
    assert_eq!(again(&keys.to_cose()), keys);
    assert_eq!(again(keys.to_jwks().as_bytes()), keys);
});
