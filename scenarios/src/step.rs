//! The text of one step.
