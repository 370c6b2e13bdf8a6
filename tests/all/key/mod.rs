//! Keys, key sets and key directories.

#[cfg(feature = "issuer")]
pub mod key_dir;
pub mod keys;
#[cfg(feature = "issuer")]
pub mod published_keys;
