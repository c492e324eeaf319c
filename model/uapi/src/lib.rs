//! The data that crosses between the kernel model, the explorers and the people.
//!
//! This package is compiled once, whatever backend the model is compiled for. It holds no kernel
//! logic, names no backend, and reads no clock: calls and their arguments ([`call`]), programs
//! ([`program`]), the step that a CPU is about to make ([`step`]), the interface of an explorer
//! ([`pick`]), what a kernel would print ([`splat`]), what one execution gave ([`outcome`]), its
//! log ([`trace`]), programs written directly in kernel primitives ([`litmus`]), programs for the
//! command queue ([`queue`]), the words of a
//! verdict ([`verdict`]), and what can be done instead of a step ([`mutation`]).

pub mod call;
pub mod errno;
pub mod litmus;
pub mod mutation;
pub mod outcome;
pub mod pick;
pub mod program;
pub mod queue;
pub mod splat;
pub mod step;
pub mod trace;
pub mod verdict;

pub use errno::Errno;
