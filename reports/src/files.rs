//! Files of a run. Each is written to a temporary file in its directory and renamed, so a reader
//! sees the whole old one or the whole new one.

use std::io::Write;
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
        tempfile::NamedTempFile::new_in(path).map_err(fail)?;
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
/// If it cannot be written; the message says which and why.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().permissions(permissions()).tempfile_in(dir).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
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
