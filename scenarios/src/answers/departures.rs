//! The mismatches that stay, as data: where the model answers otherwise than a recorded kernel,
//! and why that is right.

use serde::Deserialize;

/// One mismatch that stays.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Departure {
    /// The row, by its canonical name.
    pub revision: String,
    /// The sequence.
    pub sequence: String,
    /// Why the model is right, or why the difference cannot matter.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    departure: Vec<Departure>,
}

/// What stands in `scenarios/answers/departures.toml`.
///
/// # Errors
///
/// What is wrong with that file.
pub fn departures() -> Result<Vec<Departure>, String> {
    let text = include_str!("../../answers/departures.toml");
    let file: File = toml::from_str(text).map_err(|e| format!("answers/departures.toml: {e}"))?;
    Ok(file.departure)
}
