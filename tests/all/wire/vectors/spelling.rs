//! The text form: base64url without padding, at most 4,096 characters.

use serde_json::json;

use super::{Maker, session};
use crate::support::raw::{Frame, base64url, bytes, claims, header, label, text, token};
use crate::support::test_keys::TestKey;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn make() -> Maker {
    let mut m = Maker::under("text");
    let good = token(TestKey::Session, &claims());
    m.accepted("plain", "the smallest good token", good.clone(), session(&json!({})));
    m.accepted(
        "algorithm -19",
        "a good token of the key whose algorithm is -19",
        token(TestKey::Session19, &claims()),
        session(&json!({})),
    );

    m.malformed("empty", "nothing at all", String::new(), "empty");
    m.malformed("one character", "no byte has one character", "0".to_owned(), "not_base64url");
    m.malformed("one byte", "a byte is no token", "AA".to_owned(), "not_sign1");
    for (name, character) in [("plus", '+'), ("slash", '/')] {
        let (of, token) = with_character(if character == '+' { '-' } else { '_' });
        m.malformed(
            name,
            "the alphabet of plain base64",
            token.replacen(of, &character.to_string(), 1),
            "not_base64url",
        );
    }
    for remainder in [2, 3] {
        let token = of_remainder(remainder);
        m.accepted(
            &format!("remainder {remainder}"),
            "a good token whose last character has unused bits, all zero",
            token.clone(),
            session(&json!({ "subject": "a".repeat(subject_of_remainder(remainder)) })),
        );
        m.malformed(
            &format!("padded {remainder}"),
            "padding",
            format!("{token}{}", "=".repeat(4 - remainder)),
            "not_base64url",
        );
        for bit in 0..(if remainder == 2 { 4 } else { 2 }) {
            m.malformed(
                &format!("stray bit {remainder} {bit}"),
                "a bit set in the last character that belongs to no byte (RFC 4648, section 3.5)",
                with_stray_bit(&token, bit),
                "stray_bits",
            );
        }
    }
    m.malformed(
        "padding after whole bytes",
        "padding where none could be",
        format!("{}=", of_remainder(0)),
        "not_base64url",
    );
    for (name, before, after) in [
        ("leading space", " ", ""),
        ("trailing space", "", " "),
        ("trailing newline", "", "\n"),
        ("trailing carriage return", "", "\r\n"),
        ("trailing nul", "", "\0"),
        ("trailing dot", "", "."),
        ("quoted", "\"", "\""),
        ("byte order mark", "\u{feff}", ""),
    ] {
        m.malformed(
            name,
            "a character that base64url does not have",
            format!("{before}{good}{after}"),
            "not_base64url",
        );
    }
    let (first, second) = good.split_at(good.len() / 2);
    m.malformed(
        "newline inside",
        "a line break in the middle",
        format!("{first}\n{second}"),
        "not_base64url",
    );
    m.malformed("percent encoded", "an escaped character", good.replacen('0', "%30", 1), "not_base64url");
    m.malformed(
        "full-width letter",
        "a letter outside ASCII",
        format!("{first}\u{ff21}{second}"),
        "not_base64url",
    );
    m.malformed(
        "a JWT",
        "a signed JWT (RFC 7515, appendix A.4) is another format",
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg".to_owned(),
        "not_base64url",
    );
    m.malformed("twice", "two tokens in a row", good.repeat(2), "trailing_bytes");
    m.malformed(
        "truncated text",
        "the last four characters are missing",
        good[..good.len() - 4].to_owned(),
        "truncated",
    );
    m.malformed("first half", "the first half", first[..first.len() / 4 * 4].to_owned(), "truncated");

    let longest = of_length(4096);
    m.accepted(
        "4096 characters",
        "the longest token that is looked at",
        longest.clone(),
        session(&json!({ "claims": "x".repeat(filling(4096)) })),
    );
    m.malformed("4098 characters", "a token good but for its length", of_length(4098), "too_long");
    m.malformed(
        "4097 characters",
        "one character too many; what it is doesn't matter",
        format!("{longest}!"),
        "too_long",
    );
    m.malformed("8192 characters", "far too long", "A".repeat(8192), "too_long");
    m
}

/// A good token with this character in its text.
fn with_character(wanted: char) -> (char, String) {
    let token = (0..=255_u8)
        .map(|n| token(TestKey::Session, &claims().with(label::CTI, bytes(&[n; 16]))))
        .find(|token| token.contains(wanted))
        .unwrap();
    (wanted, token)
}

fn with_subject(length: usize) -> String {
    token(TestKey::Session, &claims().with(label::SUB, text(&"a".repeat(length))))
}

fn subject_of_remainder(remainder: usize) -> usize {
    (1..4).find(|length| with_subject(*length).len() % 4 == remainder).unwrap()
}

fn of_remainder(remainder: usize) -> String {
    with_subject(subject_of_remainder(remainder))
}

/// Sets an unused bit of the last character, whose unused bits are all zero.
pub(crate) fn with_stray_bit(token: &str, bit: u8) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let value = ALPHABET.iter().position(|c| *c == last.as_bytes()[0]).unwrap();
    format!("{rest}{}", char::from(ALPHABET[value | 1 << bit]))
}

/// How many characters of application text make a token of this length.
fn filling(characters: usize) -> usize {
    let bytes = characters * 3 / 4;
    (bytes - 400..bytes)
        .find(|n| {
            let payload = claims().with(label::APP, text(&"x".repeat(*n))).encode();
            Frame::new(&header(TestKey::Session).encode(), &payload).encode(TestKey::Session).len() == bytes
        })
        .unwrap()
}

fn of_length(characters: usize) -> String {
    let payload = claims().with(label::APP, text(&"x".repeat(filling(characters)))).encode();
    base64url(&Frame::new(&header(TestKey::Session).encode(), &payload).encode(TestKey::Session))
}
