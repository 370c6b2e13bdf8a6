//! Files: atomic writes, and checks of owner and mode.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::{BoxError, ConfigError};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Mode 0600.
    Owner,
    /// Mode 0644.
    Everybody,
}

pub(crate) fn error(path: &Path, why: impl Into<BoxError>) -> ConfigError {
    ConfigError::File { path: path.to_owned(), source: why.into() }
}

/// In a directory with this bit, only a file's owner can rename or remove it.
#[cfg(unix)]
const STICKY: u32 = 0o1000;

/// Refuses a directory or file that somebody else could change: one that group
/// or others can write to, or that belongs to neither this process's user nor
/// root. Follows a symbolic link, which must have the same owner.
///
/// # Errors
/// [`ConfigError::OpenToOthers`] and [`ConfigError::ForeignOwner`], which print
/// the command that repairs it; [`ConfigError::File`] if it can't be read.
#[cfg(unix)]
pub(crate) fn check_unshared(path: &Path) -> Result<(), ConfigError> {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    let of_us = |found: &fs::Metadata| match found.uid() {
        owner if owner == user || owner == 0 => Ok(()),
        owner => Err(ConfigError::ForeignOwner { path: path.to_owned(), owner, user }),
    };
    of_us(&fs::symlink_metadata(path).map_err(|why| error(path, why))?)?;
    let found = fs::metadata(path).map_err(|why| error(path, why))?;
    of_us(&found)?;
    // In a sticky directory others can make files. Those belong to them, so
    // they are refused. They can't change ours.
    let sticky = found.is_dir() && found.mode() & STICKY != 0;
    if found.mode() & 0o022 != 0 && !sticky {
        return Err(ConfigError::OpenToOthers { path: path.to_owned(), mode: found.mode() & 0o7777 });
    }
    Ok(())
}

/// Other systems have no such owners and modes.
#[cfg(not(unix))]
pub(crate) fn check_unshared(_: &Path) -> Result<(), ConfigError> {
    Ok(())
}

/// [`check_unshared`] for a directory. Its parent is checked too, since whoever
/// can write there could replace the directory, unless the parent is sticky,
/// like `/tmp`.
///
/// # Errors
/// As [`check_unshared`].
pub(crate) fn check_unshared_dir(path: &Path) -> Result<(), ConfigError> {
    check_unshared(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let real = path.canonicalize().map_err(|why| error(path, why))?;
        if let Some(parent) = real.parent() {
            let mode = fs::metadata(parent).map_err(|why| error(parent, why))?.mode();
            if mode & 0o022 != 0 && mode & STICKY == 0 {
                return Err(ConfigError::OpenToOthers { path: parent.to_owned(), mode: mode & 0o7777 });
            }
        }
    }
    Ok(())
}

/// Writes to a temporary name in the same directory, syncs, renames, and syncs
/// the directory: after a power cut the file is the old one or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), ConfigError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let fail = |why: std::io::Error| error(path, why);
    // Created with mode 0600, so that nobody can read a private key before its
    // mode is set.
    let mut file = tempfile::Builder::new().prefix(".hallpass-").tempfile_in(dir).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    #[cfg(unix)]
    if readers == Readers::Everybody {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(fail)?;
    }
    #[cfg(not(unix))]
    let _ = readers;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|failed| fail(failed.error))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail)
}

/// Makes a directory that only its owner can enter, with its parents.
pub(crate) fn create_private_dir(path: &Path) -> Result<(), ConfigError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|why| error(path, why))
}

/// Reads a secret. Refuses a file that others than its owner can read.
pub(crate) fn read_secret(path: &Path, most: u64) -> Result<zeroize::Zeroizing<String>, ConfigError> {
    use std::io::Read;
    let file = File::open(path).map_err(|why| error(path, why))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(|why| error(path, why))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(error(
                path,
                format!(
                    "others can read this private key (mode {:04o}); run: chmod 600 {}",
                    mode & 0o7777,
                    path.display()
                ),
            ));
        }
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = file.take(most + 1).read_to_string(&mut text).map_err(|why| error(path, why))?;
    if read as u64 > most {
        return Err(error(path, format!("longer than {most} bytes, so not a key")));
    }
    Ok(text)
}
