//! The journal of a simulation: a line that says what is simulated, then a line per run, appended as the
//! runs end.
//!
//! A process that is killed leaves whole lines and perhaps a torn last one, which is dropped when
//! the journal is opened again; its run is made again. Journals of the shards of one
//! simulation are merged by adding their lines up.

use super::record::{Record, Records};
use serde::{Deserialize, Serialize};
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
pub const FORMAT: u32 = 1;

/// A line is a run; no run has more call sites than this has room for.
const LINE_MAX: u64 = 1 << 20;

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
        let options = || OpenOptions::new().read(true).append(true).create(true).clone();
        let mut file = options().open(path).map_err(fail)?;
        let (found, whole) = read(&mut file, path, records)?;
        match found {
            None => {
                if !torn_head(&mut file, head).map_err(fail)? {
                    return Err(format!(
                        "{} is no journal, and is left as it is; name a new file",
                        path.display()
                    ));
                }
                file.set_len(0).map_err(fail)?;
                write_line(&mut file, head).map_err(fail)?;
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
        Ok(Journal { file, path: path.to_owned() })
    }

    /// Appends a run. One write for the whole line: a kill leaves it whole, torn at the end, or out.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn append(&mut self, record: &Record) -> Result<(), String> {
        write_line(&mut self.file, record).map_err(|e| {
            format!("cannot write the journal {}: {e}; what it holds is whole", self.path.display())
        })
    }
}

/// Whether all that a file holds is the beginning of this head: what a kill may leave of it, and
/// nothing that a user would miss.
fn torn_head(file: &mut File, head: &Head) -> std::io::Result<bool> {
    let head = serde_json::to_vec(head)?;
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    Read::take(file, head.len() as u64 + 1).read_to_end(&mut text)?;
    Ok(head.starts_with(&text))
}

fn write_line<T: Serialize>(file: &mut File, line: &T) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)
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
        let mut file = File::open(path)
            .map_err(|e| format!("cannot read the journal {}: {e}", path.display()))?;
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

/// The head, if there is a whole one, and the length of all whole lines.
fn read(
    file: &mut File,
    path: &Path,
    records: &mut Records,
) -> Result<(Option<Head>, u64), String> {
    let bad = |line: u64, e: &dyn std::fmt::Display| {
        format!(
            "line {line} of the journal {} cannot be read: {e}; only its last line may be torn. \
             Name a new file",
            path.display()
        )
    };
    file.seek(SeekFrom::Start(0)).map_err(|e| bad(0, &e))?;
    let mut reader = BufReader::new(file);
    let (mut head, mut whole) = (None, 0);
    for number in 1.. {
        let mut line = Vec::new();
        let mut limited = Read::take(&mut reader, LINE_MAX);
        let length = limited.read_until(b'\n', &mut line).map_err(|e| bad(number, &e))?;
        if line.last() != Some(&b'\n') {
            if length as u64 == LINE_MAX {
                return Err(bad(number, &"it is too long"));
            }
            break;
        }
        if number == 1 {
            head = Some(serde_json::from_slice::<Head>(&line).map_err(|e| bad(number, &e))?);
        } else {
            let record: Record = serde_json::from_slice(&line).map_err(|e| bad(number, &e))?;
            records.add(record);
        }
        whole += length as u64;
    }
    Ok((head, whole))
}
