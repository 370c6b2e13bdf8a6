//! Origins, in the form that browsers send.

use core::fmt;
use core::str::FromStr;

use http::Uri;
use serde::Deserialize;

/// An origin like `https://app.example` (RFC 6454 §6.2): a scheme, a host and a
/// port unless it is the scheme's default, in lower case, without a path.
///
/// Each has one spelling, so equal origins are equal texts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin(Box<str>);

/// The error of a text that is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin; write a scheme and a host in lower case, like \"https://app.example\"")]
pub struct OriginError(String);

impl Origin {
    /// The origin's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let error = || OriginError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| error())?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(error());
        };
        let default = if scheme == "https" { 443 } else { 80 };
        let plain = format!("{scheme}://{authority}") == text
            && text == text.to_ascii_lowercase()
            && !authority.as_str().contains('@')
            && match authority.as_str().strip_prefix(authority.host()) {
                Some("") => true,
                _ => authority.port().is_some_and(|port| {
                    port.as_u16() != default && port.as_str() == port.as_u16().to_string()
                }),
            };
        if plain { Ok(Self(text.into())) } else { Err(error()) }
    }
}

impl TryFrom<String> for Origin {
    type Error = OriginError;

    fn try_from(text: String) -> Result<Self, OriginError> {
        text.parse()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for text in ["https://app.example", "http://localhost:8080", "http://[::1]:8080", "http://127.0.0.1"]
        {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "*",
            "null",
            "app.example",
            "//app.example",
            "https://",
            "https://app.example/",
            "https://app.example/x",
            "https://app.example?",
            "https://app.example:443",
            "https://app.example:",
            "http://app.example:80",
            "https://App.example",
            "HTTPS://app.example",
            "https://u@app.example",
            "https://*.example ",
            "ftp://app.example",
            "http://[::1]:80a",
            "https://app.example:99999",
            "https://app.example:08443",
            "https://app.example:",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
    }
}
