//! From the text of a file to a [`Scenario`].

use crate::{Scenario, ScenarioError};
use uapi::pick::RevisionInfo;

pub(crate) fn parse(
    _name: &str,
    shown: &str,
    text: &str,
    _rows: &[RevisionInfo],
) -> Result<Scenario, ScenarioError> {
    let p = crate::Problem::whole("the reader is being written", "come back in an hour");
    Err(ScenarioError::new(shown, Some(text), vec![p]))
}
