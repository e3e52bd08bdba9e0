//! Files of `KEY=VALUE` lines: what a process reports when it is ready, what
//! `up` leaves for others to read, and the secrets it keeps between runs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Such a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub(crate) struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The lines of a file; none if there is no such file.
///
/// # Errors
/// The file exists but cannot be read.
pub(crate) fn read(path: &Path) -> Result<Option<BTreeMap<String, String>>, FileError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(parse(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError { action: "read", path: path.to_owned(), source }),
    }
}

/// Writes the lines atomically, readable by this user only.
///
/// # Errors
/// The system refuses.
pub(crate) fn write<'a>(
    path: &Path,
    lines: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), FileError> {
    let text: String = lines.into_iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let draft = path.with_extension("draft");
    let put = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = std::fs::File::options();
        options.create(true).truncate(true).write(true).mode(0o600);
        options.open(&draft)?.write_all(text.as_bytes())?;
        std::fs::rename(&draft, path)
    };
    put().map_err(|source| FileError { action: "write", path: path.to_owned(), source })
}

/// Removes the file, if it exists.
///
/// # Errors
/// The system refuses.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FileError { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Prepares for another process to write the file: its folder exists, and a file of an
/// earlier run is removed.
///
/// # Errors
/// The system refuses.
pub(crate) fn make_way(path: &Path) -> Result<(), FileError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| {
            let path = folder.to_owned();
            FileError { action: "create", path, source }
        })?;
    }
    remove(path)
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/env");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, [("URL", "postgres://a:b@c/d?e=f"), ("EMPTY", "")]).unwrap();
        let lines = read(&path).unwrap().unwrap();
        assert_eq!(lines["URL"], "postgres://a:b@c/d?e=f");
        assert_eq!(lines["EMPTY"], "");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
