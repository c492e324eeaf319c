//! What the testbed renders, and the command line in front of it.
//!
//! * [`check`] puts every question to the explorers, [`judge`] says what the answers are worth;
//! * [`observation`], [`columns`], [`brief`] and [`picture`] are what people read, [`record`] and
//!   [`junit`] what machines read;
//! * [`cli`] is the command line, [`commands`] and [`catalogue`] are what it calls, [`calls`] are a
//!   scenario's;
//! * [`answers`] compares recordings of real kernels with the model;
//! * [`baseline`] compares a run with one that was kept;
//! * [`mutate`] asks which steps of the model no scenario misses;
//! * [`pairs`] holds every call against every other;
//! * [`simulate`] draws programs from a seed and looks into what they show;
//! * [`sweep`] asks the cost model of the SMMUv3 command queue, [`cost_model`] says how well that fits;
//! * [`report`] is the page of a whole run;
//! * [`pages`] are the generated parts of the documentation.
//!
//! This is the highest floor: it may use every crate below it, and nothing uses it.

pub mod answers;
pub mod baseline;
pub mod brief;
pub mod calls;
pub mod catalogue;
pub mod check;
pub mod cli;
pub mod clock;
pub mod columns;
pub mod commands;
pub mod cost_model;
pub mod files;
pub mod graph;
pub mod interrupt;
pub mod judge;
pub mod junit;
pub mod lock_order;
pub mod mutate;
pub mod observation;
pub mod output;
pub mod pages;
pub mod pairs;
pub mod picture;
pub mod progress;
pub mod record;
pub mod report;
pub mod rows;
pub mod run;
pub mod simulate;
pub mod sweep;
pub mod token;
pub mod values;
