//! Durations as text, like `"15m"` or `"90s"`.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, de::Error as _};

/// For `deserialize_with`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|error| D::Error::custom(format!("{error}; write it like \"15m\" or \"90s\"")))
}

/// The same for a key that has no default of its own.
pub(crate) fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}
