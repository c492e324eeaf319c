//! What is simulated on a row: programs over the API of iommufd, or programs for the command queue.

use crate::rows::{canonical, is_of_queue};
use races::simulate::Plan;
use races::Permitted;
use scenarios::simulate::queue::{self, QueueRow};
use scenarios::simulate::{draw, drivers_agree, Row};
use scenarios::Spelled;
use std::fmt::Write;
use uapi::call::signature;
use uapi::pick::{ModelError, Subject};

/// A row, and what is drawn for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Simulated {
    /// Of iommufd.
    Iommufd(Row),
    /// Of the command queue.
    Queue(QueueRow),
}

/// A program that was drawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drawn {
    /// Its seed.
    pub seed: u64,
    /// What was drawn before the first step, in words.
    pub parameters: String,
    /// What is run.
    pub subject: Subject,
    /// How it is executed.
    pub plan: Plan,
}

impl Simulated {
    /// Asks a row, by its name or an alias, what can be drawn for it.
    ///
    /// # Errors
    ///
    /// There is no such row; the message says which one may be meant.
    pub fn ask(name: &str) -> Result<Simulated, String> {
        let name = canonical(name)?;
        let row = match is_of_queue(name) {
            true => QueueRow::ask(name).map(Simulated::Queue),
            false => Row::ask(name).map(Simulated::Iommufd),
        };
        row.map_err(|e| format!("{e}; please report this as a bug"))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Simulated::Iommufd(row) => row.name(),
            Simulated::Queue(row) => row.name(),
        }
    }

    /// Draws the program of a seed.
    ///
    /// # Errors
    ///
    /// If the model does not take it.
    pub fn draw(&self, seed: u64, permitted: &[Permitted]) -> Result<Drawn, ModelError> {
        match self {
            Simulated::Iommufd(row) => {
                let drawn = draw(seed, row)?;
                Ok(Drawn {
                    seed,
                    parameters: drawn.parameters.to_string(),
                    subject: drawn.subject(row),
                    plan: drawn.plan(permitted),
                })
            }
            Simulated::Queue(row) => {
                let drawn = queue::draw(seed, row)?;
                Ok(Drawn {
                    seed,
                    parameters: drawn.parameters.to_string(),
                    subject: drawn.subject(row),
                    plan: drawn.plan(),
                })
            }
        }
    }
}

/// Whether somebody could make these calls.
pub fn somebody_could(subject: &Subject) -> bool {
    match subject {
        Subject::Program { program, .. } => drivers_agree(program),
        Subject::Queue { program, .. } => queue::drivers_agree(program),
        Subject::Litmus(_) => true,
    }
}

/// The names of the calls of each CPU.
pub fn calls(subject: &Subject) -> Vec<Vec<&'static str>> {
    match subject {
        Subject::Program { program, .. } => {
            let of = |list: &Vec<uapi::program::Step>| {
                list.iter().map(|step| signature(step.call).name).collect()
            };
            program.cpus.iter().map(of).collect()
        }
        Subject::Queue { program, .. } => {
            let of = |list: &Vec<uapi::queue::Request>| list.iter().map(|r| r.name()).collect();
            program.cpus.iter().map(of).collect()
        }
        Subject::Litmus(_) => Vec::new(),
    }
}

/// The names of the calls before those of the CPUs.
pub fn calls_of_setup(subject: &Subject) -> Vec<&'static str> {
    match subject {
        Subject::Program { program, .. } => {
            program.setup.iter().map(|step| signature(step.call).name).collect()
        }
        Subject::Queue { .. } | Subject::Litmus(_) => Vec::new(),
    }
}

/// A program, a call per line.
pub fn listed(subject: &Subject) -> String {
    let mut text = String::new();
    if let Subject::Program { program, .. } = subject {
        let shared = program.pdevs.iter().enumerate().filter(|(n, p)| p.group as usize != *n);
        for (n, pdev) in shared {
            let _ = writeln!(text, "  pdev{n}: group {}, IOMMU {}", pdev.group, pdev.iommu);
        }
    }
    let spelled = Spelled::of(subject);
    for step in &spelled.setup {
        let _ = writeln!(text, "  setup: {step}");
    }
    for (cpu, steps) in spelled.cpus.iter().enumerate() {
        for step in steps {
            let _ = writeln!(text, "  CPU {cpu}: {step}");
        }
    }
    for step in &spelled.finally {
        let _ = writeln!(text, "  finally: {step}");
    }
    text
}
