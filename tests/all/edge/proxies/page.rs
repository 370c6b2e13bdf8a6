//! The configurations from docs/proxies.md.

use std::path::Path;

/// Returns a file of the page: the code block that starts with a comment with its
/// name.
pub(super) fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proxies.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut blocks = page.split("\n```");
    let found = blocks.find_map(|block| {
        let (_, text) = block.split_once('\n')?;
        let first = text.lines().next()?;
        let named = ["# ", "-- ", "// "].iter().find_map(|comment| first.strip_prefix(comment))?;
        (named == name).then(|| text.to_owned())
    });
    found.unwrap_or_else(|| panic!("docs/proxies.md prints no {name}"))
}

/// Returns the text with other ports: replaces each whole number that is in
/// `ports`.
pub(super) fn with_ports(text: &str, ports: &[(&str, u16)]) -> String {
    let (mut out, mut digits) = (String::new(), String::new());
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        match ports.iter().find(|(printed, _)| *printed == digits) {
            Some((_, port)) => out.push_str(&port.to_string()),
            None => out.push_str(&digits),
        }
        digits.clear();
        out.push(c);
    }
    out
}
