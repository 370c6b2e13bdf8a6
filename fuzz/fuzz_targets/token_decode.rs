//! Any bytes, as a token's text and as its CBOR, are refused or are the only
//! encoding of their content. Signatures are not checked.
#![no_main]

use hallpass::{UnverifiedToken, danger};
use hallpass_fuzz::{base64url, has_undefined, spelled, unbase64url};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if UnverifiedToken::decode(data).is_ok() {
        let bytes = unbase64url(data).expect("what is decoded is base64url");
        assert_eq!(base64url(&bytes).as_bytes(), data, "two texts of one token");
    }
    let _ = danger::inspect(data);

    let text = base64url(data);
    let frame = UnverifiedToken::decode(&text);
    let inspection = danger::inspect(&text);
    if inspection.is_ok() {
        let value: ciborium::Value = ciborium::from_reader(data).expect("well-formed CBOR");
        assert_eq!(spelled(&value), data, "two spellings of one frame");
        let parts = value.into_tag().expect("a tag").1.into_array().expect("an array");
        for embedded in [&parts[0], &parts[2]] {
            let embedded = embedded.as_bytes().expect("a byte string");
            // Simple values that ciborium's Value doesn't have can't be compared.
            if let Ok(value) = ciborium::from_reader::<ciborium::Value, _>(&embedded[..])
                && !has_undefined(embedded)
            {
                assert_eq!(&spelled(&value), embedded, "two spellings of one map");
            }
        }
    }
    if let Ok(frame) = frame {
        let _ = format!("{frame:?}");
        assert_eq!(data[0], 0xd2, "tag 18 in its one spelling");
    }
});
