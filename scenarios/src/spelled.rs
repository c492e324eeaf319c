//! A program as a scenario spells it, for output.

use crate::write::{queue_lines, request_text};
use uapi::mutation::Mutant;
use uapi::outcome::Place;
use uapi::pick::Subject;
use uapi::program::{Program, Step};
use uapi::queue::{Queue, QueueKind};

/// The texts of a program.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spelled {
    /// The step of the model that is done otherwise.
    pub mutant: Option<Mutant>,
    /// What is there before the CPUs run: steps, or what a queue is like.
    pub setup: Vec<String>,
    /// The steps of each CPU. The SMMU that consumes a queue has none.
    pub cpus: Vec<Vec<String>>,
    /// What each CPU is called.
    pub names: Vec<String>,
    /// Steps after all CPUs have finished.
    pub finally: Vec<String>,
}

impl Spelled {
    /// Of what is run. A program in kernel primitives has no text.
    pub fn of(subject: &Subject) -> Spelled {
        match subject {
            Subject::Program { program, .. } => Spelled::of_program(program),
            Subject::Queue { program, .. } => Spelled::of_queue(program),
            Subject::Litmus(_) => Spelled::default(),
        }
    }

    /// Of a kernel program.
    pub fn of_program(program: &Program) -> Spelled {
        let texts = |steps: &[Step]| steps.iter().map(|step| step.text.clone()).collect();
        Spelled {
            mutant: program.mutant.clone(),
            setup: texts(&program.setup),
            cpus: program.cpus.iter().map(|steps| texts(steps)).collect(),
            names: (0..program.cpus.len()).map(|cpu| format!("CPU {cpu}")).collect(),
            finally: texts(&program.finally),
        }
    }

    fn of_queue(queue: &Queue) -> Spelled {
        let mut cpus: Vec<Vec<String>> =
            queue.cpus.iter().map(|list| list.iter().map(request_text).collect()).collect();
        let mut names: Vec<String> = (0..cpus.len()).map(|cpu| format!("CPU {cpu}")).collect();
        names.push("SMMU".to_string());
        if let Some(beside) = queue.secondary {
            let kind = match beside.kind {
                QueueKind::Ecmdq => "ECMDQ",
                QueueKind::GuestVcmdq => "VCMDQ",
            };
            names.extend((0..beside.queues).map(|n| format!("SMMU, {kind} {n}")));
        }
        cpus.resize(names.len(), Vec::new());
        Spelled { setup: queue_lines(queue), cpus, names, ..Spelled::default() }
    }

    /// The texts of one list.
    pub fn list(&self, place: Place) -> &[String] {
        match place {
            Place::Setup => &self.setup,
            Place::Cpu(cpu) => self.cpus.get(usize::from(cpu)).map_or(&[], Vec::as_slice),
            Place::Finally => &self.finally,
            Place::Exit => &[],
        }
    }

    /// What a CPU is called.
    pub fn name(&self, cpu: usize) -> String {
        self.names.get(cpu).cloned().unwrap_or_else(|| format!("CPU {cpu}"))
    }
}
