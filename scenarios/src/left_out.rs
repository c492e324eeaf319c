//! What the model leaves out, with the reasons: `scenarios/left_out.toml`.

use serde::{Deserialize, Serialize};

/// Something that the model leaves out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
    /// Whether it is left out of the command queue and its SMMU; otherwise, of iommufd.
    #[serde(default)]
    pub queue: bool,
    /// R-numbers of the reference that cannot be asked for that reason.
    pub races: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    left_out: Vec<LeftOut>,
}

/// What stands in `scenarios/left_out.toml`.
///
/// # Errors
///
/// What is wrong with that file.
pub fn left_out() -> Result<Vec<LeftOut>, String> {
    let text = include_str!("../left_out.toml");
    let file: File = toml::from_str(text).map_err(|e| format!("left_out.toml: {e}"))?;
    Ok(file.left_out)
}
