//! The journal of a simulation: a line that says what is simulated, then a line per run, appended as the
//! runs end. Each line is an object of JSON that closes with the checksum of what stands before it, so
//! that a journal whose bytes were changed is refused.
//!
//! A process that is killed leaves whole lines and perhaps a torn last one, which is dropped when
//! the journal is opened again; its run is made again. Journals of the shards of one
//! simulation are merged by adding their lines up.

use super::record::{Record, Records};
use crate::files;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What is simulated: everything that a run depends on, beside its number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Version of this format.
    pub format: u32,
    /// Version of the testbed.
    pub testbed: String,
    /// The generator.
    pub generator: String,
    /// The row.
    pub revision: String,
    /// The master seed.
    pub seed: u64,
    /// A fingerprint of the model's call sites: their numbers stand in the lines.
    pub sites: u64,
    /// `K/N`, if only a part of the runs is made.
    pub shard: Option<String>,
}

/// Version of the format.
pub const FORMAT: u32 = 2;

/// A line is a run; no run has more call sites than this has room for.
const LINE_MAX: u64 = 1 << 20;

/// A journal is read into memory to go on: some ten million runs.
pub const BYTES_MAX: u64 = 2 << 30;

impl Head {
    /// Of this testbed.
    pub fn new(revision: &str, seed: u64, shard: Option<String>) -> Head {
        Head {
            format: FORMAT,
            testbed: env!("CARGO_PKG_VERSION").to_owned(),
            generator: races::seed::GENERATOR.to_owned(),
            revision: revision.to_owned(),
            seed,
            sites: sites(),
            shard,
        }
    }

    /// What another head says differently, in words.
    fn differs(&self, other: &Head) -> Option<String> {
        let pairs = [
            ("format", self.format.to_string(), other.format.to_string()),
            ("testbed", self.testbed.clone(), other.testbed.clone()),
            ("generator", self.generator.clone(), other.generator.clone()),
            ("revision", self.revision.clone(), other.revision.clone()),
            ("seed", self.seed.to_string(), other.seed.to_string()),
            ("kernel model", self.sites.to_string(), other.sites.to_string()),
        ];
        let pair = pairs.into_iter().find(|(_, a, b)| a != b)?;
        Some(format!("its {} is {}, not {}", pair.0, pair.1, pair.2))
    }
}

/// A fingerprint of the names of the call sites.
fn sites() -> u64 {
    let names: Vec<String> = model_native::call_sites().iter().map(|s| s.name()).collect();
    races::simulate::fingerprint(names.join("\n").as_bytes())
}

/// A journal that is written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Bytes that may still be appended.
    room: u64,
}

impl Journal {
    /// Opens a journal, or begins one. What it holds is added to `records`.
    ///
    /// # Errors
    ///
    /// It cannot be read or written, or is one of another simulation; the message says what to do.
    pub fn open(path: &Path, head: &Head, records: &mut Records) -> Result<Journal, String> {
        let fail = |e: std::io::Error| {
            format!("cannot write the journal {}: {e}; name another file", path.display())
        };
        // A new one is made; what is there has to be a file.
        if path.symlink_metadata().is_ok() {
            files::open(path).map_err(|e| fail(std::io::Error::other(e)))?;
        }
        let options = || OpenOptions::new().read(true).append(true).create(true).clone();
        let mut file = options().open(path).map_err(fail)?;
        let (found, whole) = read(&mut file, path, records)?;
        let mut room = BYTES_MAX - whole;
        match found {
            None => {
                if !torn_head(&mut file, head).map_err(fail)? {
                    return Err(format!(
                        "{} is no journal, and is left as it is; name a new file",
                        path.display()
                    ));
                }
                file.set_len(0).map_err(fail)?;
                room -= write_line(&mut file, head, room).map_err(fail)?;
            }
            Some(found) => {
                let other = found.differs(head).or_else(|| {
                    let part = |h: &Head| h.shard.clone().unwrap_or("all of it".to_owned());
                    (found.shard != head.shard)
                        .then(|| format!("its part is {}, not {}", part(&found), part(head)))
                });
                if let Some(other) = other {
                    return Err(format!(
                        "the journal {} is one of another simulation: {other}; go on with its \
                         options, or name a new file",
                        path.display()
                    ));
                }
                file.set_len(whole).map_err(fail)?;
            }
        }
        Ok(Journal { file, path: path.to_owned(), room })
    }

    /// Appends a run. One write for the whole line: a kill leaves it whole, torn at the end, or out.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn append(&mut self, record: &Record) -> Result<(), String> {
        let written = write_line(&mut self.file, record, self.room).map_err(|e| {
            format!(
                "cannot write the journal {}: {e}; its whole lines are kept: make room and give the \
                 same command, or go on in a new file with --from {}",
                self.path.display(),
                record.run
            )
        })?;
        self.room -= written;
        Ok(())
    }
}

/// Whether all that a file holds is the beginning of this head: what a kill may leave of it, and
/// nothing that a user would miss.
fn torn_head(file: &mut File, head: &Head) -> std::io::Result<bool> {
    let head = sealed(serde_json::to_vec(head)?);
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    Read::take(file, head.len() as u64 + 1).read_to_end(&mut text)?;
    Ok(head.starts_with(&text))
}

/// The key behind which a line has its checksum.
const SUM: &[u8] = b",\"sum\":\"";

/// What follows the sum.
const SUM_END: &[u8] = b"\"}\n";

/// Digits of a sum.
const SUM_DIGITS: usize = 16;

/// An object of JSON as a line with its checksum.
pub fn sealed(mut object: Vec<u8>) -> Vec<u8> {
    let sum = races::simulate::fingerprint(&object);
    object.pop();
    object.extend_from_slice(SUM);
    object.extend_from_slice(format!("{sum:0SUM_DIGITS$x}").as_bytes());
    object.extend_from_slice(SUM_END);
    object
}

/// The object of a whole line.
fn opened(line: &[u8]) -> Result<Vec<u8>, String> {
    let behind = line.len().checked_sub(SUM.len() + SUM_DIGITS + SUM_END.len());
    let object = behind.map(|at| [&line[..at], b"}"].concat());
    match object {
        Some(object) if sealed(object.clone()) == line => Ok(object),
        _ => Err("its checksum is not that of its bytes, or it has none".to_owned()),
    }
}

/// Writes a line if there is room for it, and says how long it is.
fn write_line<T: Serialize>(file: &mut File, line: &T, room: u64) -> std::io::Result<u64> {
    let text = sealed(serde_json::to_vec(line)?);
    let length = text.len() as u64;
    if length > room {
        let full = format!("it is full: {BYTES_MAX} bytes are read again at most");
        return Err(std::io::Error::other(full));
    }
    file.write_all(&text)?;
    Ok(length)
}

/// Reads the journals of the parts of one simulation.
///
/// # Errors
///
/// One cannot be read, or they are of different simulations.
pub fn merge(paths: &[PathBuf]) -> Result<(Head, Records), String> {
    let mut records = Records::default();
    let mut merged: Option<Head> = None;
    for path in paths {
        let mut file = files::open(path).map_err(|e| {
            format!(
                "cannot read the journal {}: {e}; `simulate --journal FILE` writes one",
                path.display()
            )
        })?;
        let (head, _) = read(&mut file, path, &mut records)?;
        let head = head.ok_or_else(|| {
            format!("{} is no journal: `simulate --journal FILE` writes one", path.display())
        })?;
        let ours = Head::new(&head.revision, head.seed, None);
        let first = merged.get_or_insert(Head { shard: None, ..head.clone() });
        if let Some(other) = head.differs(first).or_else(|| head.differs(&ours)) {
            return Err(format!(
                "the journal {} does not belong to this testbed and the others: {other}",
                path.display()
            ));
        }
    }
    let head = merged.ok_or("name the journals to merge")?;
    Ok((head, records))
}

/// As [`read_lines`], of a file.
fn read(
    file: &mut File,
    path: &Path,
    records: &mut Records,
) -> Result<(Option<Head>, u64), String> {
    let bad = |e: &dyn Display| {
        format!("the journal {} cannot be read: {e}. Name a new file", path.display())
    };
    file.seek(SeekFrom::Start(0)).map_err(|e| bad(&e))?;
    read_lines(BufReader::new(file), records).map_err(|e| bad(&e))
}

/// Adds the runs of a journal. What comes back is its head, if there is a whole one, and the length
/// of all whole lines.
///
/// # Errors
///
/// A line that is whole and none of a journal, or more of them than [`BYTES_MAX`] has.
pub fn read_lines(
    journal: impl BufRead,
    records: &mut Records,
) -> Result<(Option<Head>, u64), String> {
    let mut journal = journal.take(BYTES_MAX + 1);
    let (mut head, mut whole) = (None, 0);
    let mut line = Vec::new();
    for number in 1u64.. {
        let bad = |e: &dyn Display| format!("line {number}: {e}; only its last line may be torn");
        line.clear();
        let mut limited = Read::take(&mut journal, LINE_MAX);
        let length = limited.read_until(b'\n', &mut line).map_err(|e| bad(&e))? as u64;
        if whole + length > BYTES_MAX {
            return Err(format!("it has more than {BYTES_MAX} bytes"));
        }
        if line.last() != Some(&b'\n') {
            if length == LINE_MAX {
                return Err(bad(&"it is too long"));
            }
            break;
        }
        let object = opened(&line).map_err(|e| bad(&e))?;
        if number == 1 {
            head = Some(serde_json::from_slice::<Head>(&object).map_err(|e| bad(&e))?);
        } else {
            let record: Record = serde_json::from_slice(&object).map_err(|e| bad(&e))?;
            records.add(record);
        }
        whole += length;
    }
    Ok((head, whole))
}
