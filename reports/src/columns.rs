//! An interleaving as a picture: one column per CPU, one line per kernel call, time downwards.
//!
//! This is what goes into a reply on the list, so it is plain text, at most [`WIDTH_MAX`] columns
//! wide unless the caller asks for less, and the same bytes for the same trace. A terminal too
//! narrow for columns gets the same lines as a list, each with its CPU in front.

use crate::brief::{self, splats_at_the_end, splats_before, splats_of};
use crate::output::wrap;
use crate::values::Names;
use scenarios::Spelled;
use std::collections::BTreeMap;
use std::fmt::Write;
use uapi::outcome::{Ending, Outcome, Place};
use uapi::step::{sleeper_of, Cpu};
use uapi::trace::Trace;

/// The widest picture: a mail quoted twice still shows it unbroken on a usual screen.
pub const WIDTH_MAX: usize = 116;

/// Columns narrower than this cannot hold a kernel call; the list takes over.
const COLUMN_MIN: usize = 32;

/// Space between two columns.
const GAP: usize = 2;

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// The texts of what ran.
    pub spelled: &'a Spelled,
    /// What it gave, with its trace.
    pub outcome: &'a Outcome,
    /// Index of the step after which no passing completion exists.
    pub point_of_no_return: Option<usize>,
    /// Which steps.
    pub steps: Steps,
}

/// How many steps a picture shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Steps {
    /// Those that meet another CPU, see [`crate::brief`].
    #[default]
    Meeting,
    /// All.
    All,
}

/// What a line in the column of a CPU is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    /// The head of a call, as the scenario spells it.
    Call,
    /// The function that the next steps are in.
    Function,
    /// A step.
    Step,
    /// What the call answered.
    Answer,
}

impl Cell {
    /// How far it is indented.
    fn depth(self) -> usize {
        match self {
            Cell::Call => 0,
            Cell::Function | Cell::Answer => 1,
            Cell::Step => 2,
        }
    }
}

/// One line of the picture before it is laid out.
pub enum Line {
    /// Belongs to one CPU.
    Cell {
        /// Whose column.
        cpu: usize,
        /// What it is.
        kind: Cell,
        /// What it says.
        text: String,
    },
    /// Concerns everybody: a splat.
    Across(String),
    /// A remark about the picture itself.
    Note(String),
    /// A ruler with a text in it.
    Ruler(String),
    /// The object graph after a step.
    Graph(String),
}

impl Picture<'_> {
    /// Draws it, `width` columns wide at most.
    pub fn draw(&self, width: usize) -> String {
        let lines = self.lines();
        let cpus = self.cpus();
        let width = width.min(WIDTH_MAX);
        if cpus == 1 || width / cpus < COLUMN_MIN {
            return list(&lines, self.spelled, width.max(COLUMN_MIN));
        }
        table(&lines, self.spelled, width)
    }

    fn cpus(&self) -> usize {
        self.spelled.cpus.len().max(1)
    }

    fn lines(&self) -> Vec<Line> {
        self.lines_of_steps().0
    }

    /// The lines, and for each step of the trace the number of lines up to its end.
    pub fn lines_of_steps(&self) -> (Vec<Line>, Vec<usize>) {
        let mut ends = Vec::new();
        let empty = Trace::default();
        let trace = self.outcome.trace.as_ref().unwrap_or(&empty);
        let names = Names::of(trace);
        let cpus = self.cpus();
        let mut lines = Vec::new();
        let mut calls = Calls::new(self.spelled, self.outcome, trace);
        // The function whose name was printed last in each column.
        let mut functions: Vec<Option<&str>> = vec![None; cpus];
        let shown = match self.steps {
            Steps::Meeting => brief::shown(self.outcome),
            Steps::All => vec![true; trace.steps.len()],
        };
        let end_of_cpus = brief::end_of_cpus(trace);

        for (i, step) in trace.steps.iter().enumerate() {
            let cpu = usize::from(sleeper_of(step.cpu).unwrap_or(step.cpu)).min(cpus - 1);
            if i == end_of_cpus {
                calls.rest(&mut lines);
                functions.fill(None);
                if shown[i..].contains(&true) {
                    let text = "every CPU has returned; what is left is unbound and closed";
                    lines.push(Line::Ruler(text.to_owned()));
                }
            }
            for splat in splats_before(self.outcome, i) {
                lines.push(Line::Across(names.join(&splat.to_string())));
            }
            if i < end_of_cpus && calls.enter(cpu, step.call, &mut lines) {
                functions[cpu] = None;
            }
            if shown[i] {
                if functions[cpu] != Some(&step.function) && !step.function.is_empty() {
                    let text = format!("{}:", step.function);
                    lines.push(Line::Cell { cpu, kind: Cell::Function, text });
                }
                functions[cpu] = Some(&step.function);
                lines.push(Line::Cell { cpu, kind: Cell::Step, text: names.step(step) });
            }

            for splat in splats_of(self.outcome, i) {
                lines.push(Line::Across(names.join(&splat.to_string())));
            }
            if self.point_of_no_return == Some(i) {
                lines.push(Line::Ruler(
                    "point of no return: after this step every completion fails".to_owned(),
                ));
            }
            if let Some(graph) = trace.graphs.get(i).filter(|_| shown[i]) {
                lines.push(Line::Graph(crate::graph::text(graph, &names)));
            }
            if i < end_of_cpus {
                calls.left(i, cpu, step.call, &mut lines);
            }
            ends.push(lines.len());
        }
        if end_of_cpus == trace.steps.len() {
            calls.rest(&mut lines);
        }

        let end = match self.outcome.ending {
            Ending::Complete => "the end",
            Ending::Deadlock => "no CPU can run",
            Ending::Stopped => "the kernel stops here",
            Ending::Pruned => "the explorer ended it here",
            Ending::StepLimit => "the bound on steps was hit",
        };
        lines.push(Line::Ruler(end.to_owned()));
        for splat in splats_at_the_end(self.outcome) {
            lines.push(Line::Across(names.join(&splat.to_string())));
        }
        if self.outcome.late_wakeups > 0 {
            lines.push(Line::Note(format!(
                "(timers fired for {} sleepers although what they waited for had happened)",
                self.outcome.late_wakeups
            )));
        }
        if self.outcome.splats.is_empty() {
            lines.push(Line::Note("No splat: it passes.".to_owned()));
        }
        let hidden = shown[..end_of_cpus].iter().filter(|s| !**s).count();
        if hidden > 0 {
            lines.push(Line::Note(format!(
                "({hidden} steps of their own are not drawn; replay --all draws them)"
            )));
        }
        (lines, ends)
    }
}

/// Where each CPU is in its list of calls, and what each call answered.
struct Calls<'a> {
    spelled: &'a Spelled,
    answers: BTreeMap<(Cpu, u32), String>,
    /// Index of the last step of each call.
    last_steps: BTreeMap<(usize, u32), usize>,
    /// First call of each CPU that is not drawn yet.
    next: Vec<u32>,
}

impl<'a> Calls<'a> {
    fn new(spelled: &'a Spelled, outcome: &Outcome, trace: &Trace) -> Calls<'a> {
        let mut answers = BTreeMap::new();
        for result in &outcome.results {
            if let Place::Cpu(cpu) = result.place {
                let began = || trace.steps.iter().any(|s| s.cpu == cpu && s.call == result.index);
                let text = match &result.ret {
                    Some(ret) => format!("return {ret}"),
                    // In a kernel that stopped, nothing else is said about what did not return.
                    None if outcome.ending != Ending::Complete || began() => continue,
                    None => "skipped: a step that binds one of its names failed".to_owned(),
                };
                answers.insert((cpu, result.index), text);
            }
        }
        let mut last_steps = BTreeMap::new();
        for (i, step) in trace.steps[..brief::end_of_cpus(trace)].iter().enumerate() {
            let cpu = usize::from(sleeper_of(step.cpu).unwrap_or(step.cpu));
            last_steps.insert((cpu, step.call), i);
        }
        Calls { spelled, answers, last_steps, next: vec![0; spelled.cpus.len().max(1)] }
    }

    /// Draws the head of a call at its first step, and in front of it the calls without any
    /// step. Says whether the call is a new one.
    fn enter(&mut self, cpu: usize, call: u32, lines: &mut Vec<Line>) -> bool {
        let first = self.next[cpu];
        for skipped in first..call {
            self.head(cpu, skipped, lines);
            self.answer(cpu, skipped, lines);
        }
        if call < first {
            return false;
        }
        self.head(cpu, call, lines);
        self.next[cpu] = call.saturating_add(1);
        true
    }

    fn left(&self, step: usize, cpu: usize, call: u32, lines: &mut Vec<Line>) {
        if self.last_steps.get(&(cpu, call)) == Some(&step) {
            self.answer(cpu, call, lines);
        }
    }

    /// Draws the calls behind the last step of every CPU that answered anything.
    fn rest(&self, lines: &mut Vec<Line>) {
        for (cpu, &next) in self.next.iter().enumerate() {
            let calls = self.spelled.cpus.get(cpu).map_or(0, Vec::len) as u32;
            for call in next..calls {
                if self.answers.contains_key(&(cpu as Cpu, call)) {
                    self.head(cpu, call, lines);
                    self.answer(cpu, call, lines);
                }
            }
        }
    }

    fn head(&self, cpu: usize, call: u32, lines: &mut Vec<Line>) {
        let step = self.spelled.cpus.get(cpu).and_then(|steps| steps.get(call as usize));
        if let Some(text) = step {
            lines.push(Line::Cell { cpu, kind: Cell::Call, text: text.clone() });
        }
    }

    fn answer(&self, cpu: usize, call: u32, lines: &mut Vec<Line>) {
        if let Some(text) = self.answers.get(&(cpu as Cpu, call)) {
            lines.push(Line::Cell { cpu, kind: Cell::Answer, text: text.clone() });
        }
    }
}

/// The lines side by side.
fn table(lines: &[Line], spelled: &Spelled, width: usize) -> String {
    let cpus = spelled.cpus.len();
    // A column is as wide as its widest line, but no wider than its share; what the others
    // leave over goes to those that need it.
    let mut wanted = vec![COLUMN_MIN; cpus];
    for line in lines {
        if let Line::Cell { cpu, kind, text } = line {
            let depth = kind.depth();
            wanted[*cpu] = wanted[*cpu].max(2 * depth + text.chars().count());
        }
    }
    let widths = shares(&wanted, width - GAP * (cpus - 1));
    let starts: Vec<usize> =
        (0..cpus).map(|cpu| widths[..cpu].iter().map(|w| w + GAP).sum()).collect();
    let used = (starts[cpus - 1] + widths[cpus - 1]).min(width);

    let mut page = String::new();
    let mut head = String::new();
    for (cpu, start) in starts.iter().enumerate() {
        let gap = start.saturating_sub(head.chars().count());
        let _ = write!(head, "{:gap$}{}", "", spelled.name(cpu));
    }
    push_line(&mut page, &head);
    let mut underline = String::new();
    for (start, width) in starts.iter().zip(&widths) {
        let gap = start.saturating_sub(underline.chars().count());
        let _ = write!(underline, "{:gap$}{}", "", "-".repeat(*width));
    }
    push_line(&mut page, &underline);
    for line in lines {
        match line {
            Line::Cell { cpu, kind, text } => {
                let depth = kind.depth();
                for part in wrap(text, 2 * depth, 2 * depth + 4, widths[*cpu]) {
                    push_line(&mut page, &format!("{:1$}{part}", "", starts[*cpu]));
                }
            }
            other => push_across(&mut page, other, used),
        }
    }
    page
}

/// The lines one below the other, each with its CPU in front (none, if there is only one).
fn list(lines: &[Line], spelled: &Spelled, width: usize) -> String {
    let mut page = String::new();
    for line in lines {
        match line {
            Line::Cell { cpu, kind, text } => {
                let depth = kind.depth();
                let prefix = match spelled.cpus.len() {
                    0 | 1 => String::new(),
                    _ => format!("{}  ", spelled.name(*cpu)),
                };
                for part in wrap(text, 2 * depth, 2 * depth + 4, width.saturating_sub(prefix.len()))
                {
                    push_line(&mut page, &format!("{prefix}{part}"));
                }
            }
            other => push_across(&mut page, other, width),
        }
    }
    page
}

fn push_across(page: &mut String, line: &Line, width: usize) {
    match line {
        Line::Cell { .. } => {}
        Line::Across(text) => {
            for part in wrap(&format!("*** {text}"), 0, 4, width) {
                push_line(page, &part);
            }
        }
        Line::Ruler(text) => {
            // Only the last part is filled up: a ruler that has to be broken is still one.
            let mut parts = wrap(&format!("---- {text}"), 0, 5, width);
            let last = parts.pop().unwrap_or_default() + " ";
            parts.iter().for_each(|part| push_line(page, part));
            let rest = width.saturating_sub(last.chars().count());
            push_line(page, &format!("{last}{}", "-".repeat(rest)));
        }
        Line::Note(text) => {
            for part in wrap(text, 0, 1, width) {
                push_line(page, &part);
            }
        }
        Line::Graph(text) => {
            for line in text.lines() {
                push_line(page, &format!("      . {line}"));
            }
        }
    }
}

/// No line ends in blanks: mail programs and reviewers dislike them.
fn push_line(page: &mut String, line: &str) {
    page.push_str(line.trim_end());
    page.push('\n');
}

/// Distributes `total` over columns that want `wanted`.
fn shares(wanted: &[usize], total: usize) -> Vec<usize> {
    let mut widths = vec![0; wanted.len()];
    let mut left = total;
    let mut open: Vec<usize> = (0..wanted.len()).collect();
    // Modest columns get what they want, the rest share what is left.
    while !open.is_empty() {
        let share = left / open.len();
        let (modest, greedy): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|&&c| wanted[c] <= share);
        if modest.is_empty() {
            greedy.iter().for_each(|&c| widths[c] = share);
            break;
        }
        for c in modest {
            widths[c] = wanted[c];
            left -= wanted[c];
        }
        open = greedy;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;
    use uapi::errno::{Errno, Ret};
    use uapi::outcome::StepResult;
    use uapi::splat::{Kind, Splat};
    use uapi::trace::{TraceStep, Val};

    fn step(
        cpu: u8,
        call: u32,
        function: &str,
        op: &str,
        args: Vec<Val>,
        result: Val,
    ) -> TraceStep {
        TraceStep {
            cpu,
            call,
            scheduling_point: true,
            file: "iommufd/viommu.rs".into(),
            line: 1,
            function: function.into(),
            op: op.into(),
            args,
            result,
            change: None,
            splat: None,
        }
    }

    fn vdevice(alloc: u32) -> Val {
        Val::Ptr { ty: "vdevice".into(), alloc }
    }

    fn vdevs() -> Val {
        Val::Field { ty: "viommu".into(), alloc: 5, field: "vdevs".into() }
    }

    fn sample() -> (Spelled, Outcome) {
        let spelled = Spelled {
            cpus: vec![
                vec!["b = IOMMU_VDEVICE_ALLOC(viommu0, dev1, 0x99)".into()],
                vec!["IOMMU_DESTROY(a)".into(), "IOMMU_DESTROY(9)".into()],
            ],
            ..Spelled::default()
        };
        let users = Val::Field { ty: "vdevice".into(), alloc: 7, field: "obj.users".into() };
        let mut steps = vec![
            step(
                0,
                0,
                "iommufd_vdevice_alloc_ioctl",
                "xa_cmpxchg",
                vec![vdevs(), Val::Hex(0x99), Val::Null, vdevice(9)],
                vdevice(7),
            ),
            step(
                1,
                0,
                "iommufd_object_remove",
                "refcount_dec_if_one",
                vec![users],
                Val::Bool(true),
            ),
            step(
                0,
                0,
                "iommufd_vdevice_destroy",
                "xa_erase",
                vec![vdevs(), Val::Hex(0x99)],
                vdevice(7),
            ),
        ];
        steps[1].change = Some((1, 0));
        steps[2].splat = Some(0);
        let result = |cpu, index, ret| StepResult {
            place: Place::Cpu(cpu),
            index,
            ret,
            out: Vec::new(),
            entry_num: None,
            injected: false,
        };
        let outcome = Outcome {
            ending: Ending::Complete,
            results: vec![
                result(0, 0, Some(Ret::Err(Errno::EEXIST))),
                result(1, 0, Some(Ret::Ok)),
                result(1, 1, None),
            ],
            splats: vec![
                Splat {
                    kind: Kind::Invariant,
                    function: "iommufd_vdevice_destroy".into(),
                    detail: "viommu->vdevs[0x99] lost a live vDEVICE: vdevice#7".into(),
                },
                Splat {
                    kind: Kind::Leak,
                    function: String::new(),
                    detail: "vdevice#9 (size 64)".into(),
                },
            ],
            steps: 3,
            stale_compare: false,
            late_wakeups: 0,
            lock_order: Vec::new(),
            reached: Vec::new(),
            apart: Vec::new(),
            state: Vec::new(),
            trace: Some(Trace {
                steps,
                graphs: Vec::new(),
                names: vec![(5, "viommu0".into()), (7, "a".into())],
            }),
        };
        (spelled, outcome)
    }

    #[test]
    fn two_cpus_stand_side_by_side() {
        let (spelled, outcome) = sample();
        let picture = Picture {
            spelled: &spelled,
            outcome: &outcome,
            point_of_no_return: Some(2),
            steps: Steps::All,
        };
        insta::assert_snapshot!(picture.draw(WIDTH_MAX));
    }

    #[test]
    fn a_narrow_terminal_gets_a_list() {
        let (spelled, outcome) = sample();
        let picture = Picture {
            spelled: &spelled,
            outcome: &outcome,
            point_of_no_return: Some(2),
            steps: Steps::All,
        };
        let list = picture.draw(50);
        assert!(list.lines().all(|l| l.chars().count() <= 50), "{list}");
        insta::assert_snapshot!(list);
    }

    #[test]
    fn shares_add_up_and_modest_columns_keep_their_width() {
        assert_eq!(shares(&[32, 90, 90], 112), [32, 40, 40]);
        assert_eq!(shares(&[32, 40, 32], 112), [32, 40, 32]);
        assert_eq!(shares(&[90, 90], 110), [55, 55]);
    }

    #[test]
    fn no_width_breaks_it() {
        let (spelled, outcome) = sample();
        let picture = Picture {
            spelled: &spelled,
            outcome: &outcome,
            point_of_no_return: None,
            steps: Steps::Meeting,
        };
        for width in 0..200 {
            assert!(!picture.draw(width).is_empty());
        }
        let nothing = Outcome { trace: None, results: Vec::new(), ..outcome.clone() };
        let picture = Picture { outcome: &nothing, ..picture };
        assert!(!picture.draw(100).is_empty());
    }
}
