//! Files of a run. Each is written to a temporary file in its directory and renamed, so a reader
//! sees the whole old one or the whole new one.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The directory of `-o`, found to be writable.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes the directory if need be and tries to write in it, before a run spends any time.
    ///
    /// # Errors
    ///
    /// If nothing can be written there; the message says why.
    pub fn open(path: &Path) -> Result<Directory, String> {
        let fail = |e: std::io::Error| {
            format!(
                "cannot write to the directory {}: {e}; name another one with -o",
                path.display()
            )
        };
        std::fs::create_dir_all(path).map_err(fail)?;
        let tried = tempfile::NamedTempFile::new_in(path);
        // Its name, which tempfile adds to its errors, says nothing to a user.
        tried.map_err(|e| fail(e.kind().into()))?;
        Ok(Directory(path.to_path_buf()))
    }

    /// Writes one file.
    ///
    /// # Errors
    ///
    /// If it cannot be written; the message says which and why.
    pub fn write(&self, name: &str, text: &str) -> Result<(), String> {
        write(&self.0.join(name), text)
    }
}

/// Replaces one file.
///
/// # Errors
///
/// If it cannot be written; the message says which and why. What was there is then as it was.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    replaceable(path)?;
    let fail = |e: std::io::Error| {
        format!(
            "cannot write {}: {e}; nothing is changed there: make room or name another place",
            path.display()
        )
    };
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The name of the temporary file, which tempfile adds to its errors, says nothing to a user.
    // One that a kill leaves behind says whose it is by its own.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut file = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".tmp")
        .permissions(permissions())
        .tempfile_in(dir)
        .map_err(|e| fail(e.kind().into()))?;
    file.as_file_mut().write_all(text.as_bytes()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Opens a file to read it. Whoever opens a pipe that nobody writes to waits for ever, and a device
/// has no end: neither is a file that somebody kept.
///
/// # Errors
///
/// If it cannot be opened, or is no regular file; the message says which.
pub fn open(path: &Path) -> Result<File, String> {
    let there = std::fs::metadata(path).map_err(|e| e.to_string())?;
    match () {
        () if there.is_dir() => Err("it is a directory".to_owned()),
        () if !there.is_file() => Err("it is a device or a pipe, not a regular file".to_owned()),
        () => File::open(path).map_err(|e| e.to_string()),
    }
}

/// The text of a file of at most `bytes_max`.
///
/// # Errors
///
/// If it cannot be read, is larger, or is no text; the message says which.
pub fn read(path: &Path, bytes_max: u64) -> Result<String, String> {
    let mut text = Vec::new();
    let file = open(path)?;
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    String::from_utf8(text).map_err(|e| format!("it is not UTF-8 ({e})"))
}

/// Whether a file of this name may be put in place of what is there: a directory, a pipe or a
/// device is not what a user meant to lose.
///
/// # Errors
///
/// If it may not; the message says what is there.
pub fn replaceable(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => {
            Err(format!("{} is a directory; name a file", path.display()))
        }
        Ok(there) if !there.is_file() => Err(format!(
            "{} is a device or a pipe, which a file would replace; name a file, or redirect stdout",
            path.display()
        )),
        _ => Ok(()),
    }
}

/// A temporary file is private to its user; a report is for everybody that the umask allows.
fn permissions() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o666)
}

/// A name that is safe as a file name: path separators and the like become `_`.
pub fn safe(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || "@._-".contains(c) { c } else { '_' })
        .collect()
}
