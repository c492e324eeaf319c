//! The log of one execution: one line per step, as data.
//!
//! A value names an object by its allocation ordinal; the names that a scenario gives to objects
//! are joined when the trace is rendered.

use crate::errno::Ret;
use crate::step::Cpu;
use serde::{Deserialize, Serialize};

/// A value in a trace line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Val {
    /// No result (a C function returning void).
    Void,
    /// NULL
    Null,
    /// `XA_ZERO_ENTRY`, the reserved slot.
    Zero,
    /// A number, printed in decimal.
    Num(i64),
    /// A number, printed in hexadecimal.
    Hex(u64),
    /// A boolean result.
    Bool(bool),
    /// 0 or an error number.
    Ret(Ret),
    /// A pointer to an allocation: type and ordinal. `vdevice#7`
    Ptr {
        /// C struct name without the `iommufd_` prefix.
        ty: String,
        /// Ordinal of the allocation within the execution.
        alloc: u32,
    },
    /// A field of an allocation: `vdevice#7->obj.users`
    Field {
        /// C struct name without the `iommufd_` prefix.
        ty: String,
        /// Ordinal of the allocation within the execution.
        alloc: u32,
        /// Path of the field as C spells it.
        field: String,
    },
    /// Anything else: the name of a wait queue, a flag.
    Text(String),
}

/// One step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TraceStep {
    /// Who made it. Timers have numbers from [`crate::step::CPUS_MAX`] on.
    pub cpu: Cpu,
    /// Index of the call in this CPU's list of program steps.
    pub call: u32,
    /// Whether an explorer could have switched before it: unlocks and the steps of the setup are
    /// logged but are not scheduling points.
    pub scheduling_point: bool,
    /// Model source file, from below `src/`.
    pub file: String,
    /// Line in that file.
    pub line: u32,
    /// C function that the step is in.
    pub function: String,
    /// The primitive's C name.
    pub op: String,
    /// Arguments.
    pub args: Vec<Val>,
    /// Result.
    pub result: Val,
    /// For a counter: value before and after.
    pub change: Option<(i64, i64)>,
    /// Index into [`crate::outcome::Outcome::splats`] of the first splat printed by this step.
    pub splat: Option<u32>,
}

/// The object graph at one moment: for `replay --graph` and for the report's stepper.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Graph {
    /// Objects in order of allocation.
    pub objects: Vec<GraphObject>,
}

/// One live allocation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GraphObject {
    /// C struct name without prefix.
    pub ty: String,
    /// Allocation ordinal.
    pub alloc: u32,
    /// Object id, if it is an iommufd object.
    pub id: Option<u32>,
    /// Fields worth showing: counters, locks, pointers, in order of declaration.
    pub fields: Vec<(String, Val)>,
}

/// The whole log.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Trace {
    /// Steps of the CPUs in the order in which they happened; setup and finally not included
    /// unless they printed a splat.
    pub steps: Vec<TraceStep>,
    /// Object graph after each step of `steps`, if it was asked for.
    pub graphs: Vec<Graph>,
    /// (allocation ordinal, scenario name) of every object that a program step bound to a name.
    pub names: Vec<(u32, String)>,
}
