//! What becomes of a class that a simulation shows: its first program is made smaller, decided by the
//! deciding explorer, written down as a scenario, and held against what is known.

use super::known::KnownShows;
use super::subject::{calls, somebody_could, Drawn, Simulated};
use crate::check::{Question, Settings};
use crate::columns::Steps;
use crate::judge::answers;
use crate::picture::Page;
use crate::rows::revisions;
use races::simulate::{observe, plain, record, shrink, without_numbers, Class, Found, Wanted};
use races::{Backend, ModelError, Permitted, Unwatched};
use scenarios::{step_text, write, write_beside, write_queue, Bounds, Findings, Heap, Scenario};
use std::path::Path;
use uapi::errno::Ret;
use uapi::outcome::Place;
use uapi::pick::{FirstEnabled, Subject};
use uapi::program::{FailNth, Limits, Program};
use uapi::verdict::{Expected, Verdict};

/// Candidates of one class that are tried.
const CANDIDATES_MAX: u32 = 400;
/// Executions of the deciding explorer on what is left.
const EXECUTIONS_MAX: u64 = 100_000;

/// A class and the runs that show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shows {
    /// What it is.
    pub class: Class,
    /// The runs, ascending.
    pub runs: Vec<u64>,
}

/// A class with the smallest program that shows it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it is.
    pub shows: Shows,
    /// Its first program, before.
    pub drawn: Subject,
    /// The smaller one. Nothing: the class did not show again, which would be a bug of the testbed.
    pub small: Option<Small>,
}

/// A program that shows a class, decided.
#[derive(Clone, Debug)]
pub struct Small {
    /// The program, on its row.
    pub subject: Subject,
    /// The scenario file.
    pub text: String,
    /// Name of that file.
    pub name: String,
    /// Columns, with the replay token.
    pub page: String,
    /// What is shown, in full.
    pub shown: String,
    /// Whether the deciding explorer shows it, too, so that `check` reproduces it.
    pub reproduced: bool,
    /// Where it is known from.
    pub known: Option<String>,
}

/// What looking into a class needs.
#[derive(Clone, Copy, Debug)]
pub struct Looking<'a> {
    /// The row.
    pub row: &'a Simulated,
    /// The master seed.
    pub seed: u64,
    /// Answers that need no reason.
    pub permitted: &'a [Permitted],
    /// What is known.
    pub known: &'a KnownShows,
    /// Where the file will stand.
    pub directory: Option<&'a Path>,
}

impl Looking<'_> {
    /// Makes the first program of a class smaller.
    ///
    /// # Errors
    ///
    /// If the model does not take a program.
    pub fn look(&self, shows: &Shows) -> Result<Finding, ModelError> {
        let run = shows.runs.first().copied().unwrap_or(0);
        let seed = races::seed::Draws::seed_of_run(self.seed, run);
        let Drawn { subject, plan, .. } = self.row.draw(seed, self.permitted)?;
        let observed = observe(&subject, &plan)?;
        let mut finding = Finding { shows: shows.clone(), drawn: subject.clone(), small: None };
        let Some(shown) = observed.shown.get(&shows.class) else { return Ok(finding) };
        let choices = shown.choices.clone();
        let found = Found { subject, choices, recycle: plan.recycle };
        let wanted = Wanted { class: &shows.class, allowed: &somebody_could };
        let small = shrink(found, &wanted, &plan, CANDIDATES_MAX)?;
        if let Some(small) = small {
            finding.small = Some(self.decide(small, &shows.class, run)?);
        }
        Ok(finding)
    }

    /// Asks the deciding explorer, and writes the scenario.
    fn decide(&self, found: Found, class: &Class, run: u64) -> Result<Small, ModelError> {
        let row = self.row.name().to_owned();
        let seen = record(&found)?;
        let mut subject = found.subject;
        if let Subject::Program { program, .. } = &mut subject {
            self.tidy(program, class)?;
            // A question about what stands behind a data race takes the race for granted.
            let first = seen.as_ref().and_then(|(outcome, _)| outcome.splats.first());
            if let Some(race) = first.filter(|s| s.kind.is_race() && Class::of(s) != *class) {
                program.given.push(Class::of(race).text().to_owned());
            }
        }
        let name = self.name(class, run);
        let heap = if found.recycle { Heap::Recycle } else { Heap::Auto };
        let bounds = Bounds { executions: Some(EXECUTIONS_MAX), heap, ..Bounds::default() };
        let called = match self.directory {
            Some(dir) => dir.join(format!("{name}.toml")).display().to_string(),
            None => name.clone(),
        };
        let asked = question(&subject, class);
        let source =
            format!("simulate --revision {row} --seed {} --from {run} --runs 1", self.seed);
        let file = |expected: Expected, findings: &Findings| {
            let verdict = [(row.clone(), expected)];
            let text = match &subject {
                Subject::Queue { program, .. } => write_queue(program, &asked, &source, &verdict),
                Subject::Program { program, .. } => write(program, &asked, &source, &verdict),
                Subject::Litmus(_) => String::new(),
            };
            text + &write_beside(&bounds, findings)
        };
        // The program of the file, since that is what `check` will run.
        let text = file(Expected::Never, &Findings::default());
        let question = self.question(&name, &text, called)?;
        let found = races::dpor(
            &question.subject(),
            &question.bounds(&Settings::default()),
            Backend::Native,
            &mut Unwatched,
        )?;
        let mut findings = Findings::default();
        if found.exhausted && found.late_wakeups > 0 {
            findings.late_wakeup.insert(row.clone());
        }
        if found.exhausted && found.unexplained.is_some() {
            findings.unexplained.insert(row.clone());
        }
        let splat = recorded_text(class, found.splats.keys().map(String::as_str));
        let other = found.failure.as_ref().and_then(|f| {
            let own = Class::of(&f.splat);
            recorded_text(&own, found.splats.keys().map(String::as_str))
        });
        let reproduced = match class {
            _ if class.is_unexplained() => found.unexplained.is_some(),
            _ if *class == Class::late_wakeup() => found.late_wakeups > 0,
            _ => splat.is_some(),
        };
        let text_of = |splat: &str| splat.to_owned();
        let recorded = splat.clone().or(other).unwrap_or_else(|| class.text().to_owned());
        let expected = match &found.verdict {
            Verdict::Never => Expected::Never,
            Verdict::Always { .. } => Expected::Always(text_of(&recorded)),
            // Not exhausted: what the simulation saw is what there is to say.
            _ => Expected::Sometimes(text_of(&recorded)),
        };
        let unexplained = found.unexplained.as_ref();
        let shown = match class {
            _ if class.is_unexplained() => unexplained.map_or(class.text().to_owned(), |odd| {
                format!("unexplained: {}", answers(&question, &odd.outcome))
            }),
            _ => {
                let of_class = |text: &&String| splat.as_ref().is_some_and(|s| text.contains(s));
                let full = found.splats.keys().find(of_class).cloned();
                without_numbers(&full.unwrap_or_else(|| class.text().to_owned()))
            }
        };
        let picture = match (class.is_unexplained(), unexplained, &found.failure) {
            (true, Some(odd), _) => {
                let switches = odd.schedule.segments.len().saturating_sub(1) as u32;
                Some((&odd.outcome, &odd.schedule, switches, None))
            }
            (false, _, Some(f)) if Class::of(&f.splat) == *class => {
                Some((&f.outcome, &f.schedule, f.context_switches, f.point_of_no_return))
            }
            // The shortest failure is another one: the execution that was kept while the program
            // became smaller.
            _ => seen.as_ref().map(|(outcome, schedule)| {
                (outcome, schedule, schedule.segments.len().saturating_sub(1) as u32, None)
            }),
        };
        let page = picture.map_or(String::new(), |(outcome, schedule, context_switches, lost)| {
            let page = Page {
                question: &question.scenario.question,
                token: &question.token(schedule),
                spelled: &question.spelled(),
                outcome,
                context_switches,
                point_of_no_return: lost,
                steps: Steps::Meeting,
            };
            page.text(crate::columns::WIDTH_MAX)
        });
        let known = self.known.source(class.text(), &shown, &subject, &row).map(str::to_owned);
        Ok(Small { text: file(expected, &findings), name, page, shown, reproduced, known, subject })
    }

    fn name(&self, class: &Class, run: u64) -> String {
        let letters =
            |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
        let words: String = class.text().chars().map(letters).collect();
        let words: Vec<&str> = words.split_whitespace().take(8).collect();
        format!("{}_seed{}_run{run}_{}", self.row.name(), self.seed, words.join("_"))
    }

    fn question(&self, name: &str, text: &str, called: String) -> Result<Question, ModelError> {
        let malformed = |what: String| ModelError::Malformed(what);
        let scenario = Scenario::parse(name, text, revisions())
            .map_err(|e| malformed(format!("a drawn program is no scenario: {e}\n{text}")))?;
        let question = Question::all(scenario, called).into_iter().next();
        question.ok_or_else(|| malformed(format!("a scenario without a row:\n{text}")))
    }

    /// What makes a program readable: no names and devices that it does not need, answers of the
    /// setup, texts of the steps.
    fn tidy(&self, program: &mut Program, class: &Class) -> Result<(), ModelError> {
        if class.is_unexplained() {
            // Which failing point a number means differs from order to order.
            for step in program.cpus.iter_mut().flatten() {
                if step.fail_nth != FailNth::None {
                    step.fail_nth = FailNth::Any;
                }
            }
        }
        let mut plain = program.clone();
        for step in plain.cpus.iter_mut().flatten() {
            step.fail_nth = FailNth::None;
        }
        let subject = Subject::Program { program: plain, revision: self.row.name().to_owned() };
        let outcome = model_native::run(&subject, &mut FirstEnabled, &Limits::default())?;
        for result in outcome.map(|o| o.results).unwrap_or_default() {
            let step = program.setup.get_mut(result.index as usize);
            if let (Place::Setup, Some(Ret::Ok), Some(step)) = (result.place, result.ret, step) {
                step.expect = vec![Ret::Ok];
            }
        }
        let syms = program.syms.clone();
        for step in program.setup.iter_mut().chain(program.cpus.iter_mut().flatten()) {
            step.text = step_text(step, &syms);
        }
        Ok(())
    }
}

/// The question of a program.
fn question(subject: &Subject, class: &Class) -> String {
    let cpus: Vec<String> = calls(subject).iter().map(|names| names.join(", ")).collect();
    format!("Drawn by simulate: does {} show \"{}\"?", cpus.join(" against "), class.text())
}

/// The part of a printed splat that a verdict can name: nothing that differs from row to row.
fn recorded_text<'a>(
    class: &Class,
    mut printed: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    let text = class.text();
    if printed.clone().any(|p| p.starts_with(text)) {
        return Some(text.to_owned());
    }
    // The function stands in the class, but not in what is printed.
    let words = text.rsplit_once(" in ").map_or(text, |(words, _)| words);
    if printed.clone().any(|p| p.starts_with(words)) {
        return Some(words.to_owned());
    }
    let same = |p: &&str| plain(p) == text;
    let full = printed.find(same)?;
    // The longest part without the number of an object.
    let parts = full.split('#').enumerate().map(|(at, part)| match at {
        0 => part,
        _ => part.trim_start_matches(|c: char| c.is_ascii_digit()),
    });
    parts.max_by_key(|part| part.len()).map(|part| part.trim().to_owned())
}
