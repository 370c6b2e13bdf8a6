//! All integration tests, in one binary: it links once.

mod raw;
mod test_keys;
mod vectors;
mod walk;
