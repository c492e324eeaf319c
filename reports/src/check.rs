//! The main job: puts every question to the explorers that suit it.
//!
//! A question is one scenario on one row. [`questions`] makes the list, [`run`] distributes it
//! over threads and hands the answers back in the order of the list, whatever order they were
//! found in, so that a run prints the same bytes on any machine. What an answer is worth is
//! decided in [`crate::judge`].

use crate::clock::Stopwatch;
use crate::interrupt;
use crate::judge::{judge, Judgement};
use crate::progress::{Eyes, Screen};
use crate::token::Token;
use races::mutation::Beside;
use races::{Backend, Finding, Recycle};
use scenarios::{Explorer, Heap, Kind, Scenario, Spelled};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::time::Duration;
use uapi::pick::Subject;
use uapi::verdict::{Expected, Verdict};

/// What the user may say about how far a run goes. `None`: the scenario's bound, and otherwise
/// the explorer's default.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which explorers may run.
    pub explorers: Vec<Explorer>,
    /// Executions after which the deciding explorer gives up.
    pub executions: Option<u64>,
    /// Executions per random sampler, and of loom.
    pub samples: Option<u64>,
    /// Seed of the samplers.
    pub seed: Option<u64>,
    /// Wall-clock time after which one explorer gives up on one question: a safety net.
    pub budget: Duration,
    /// Threads.
    pub jobs: usize,
    /// The binary to start as loom's child. `None`: loom is left out.
    pub loom_exe: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            explorers: Explorer::ALL.to_vec(),
            executions: None,
            samples: None,
            seed: None,
            budget: BUDGET,
            jobs: 1,
            loom_exe: None,
        }
    }
}

/// The default of [`Settings::budget`].
pub const BUDGET: Duration = Duration::from_secs(60);

/// Executions of each sampler, and of loom, on one question: more of the same evidence would cost
/// more than all decisions together.
pub const EVIDENCE: u64 = 100;

/// One scenario on one row.
#[derive(Clone, Debug)]
pub struct Question {
    /// The scenario.
    pub scenario: Arc<Scenario>,
    /// The row, by its canonical name.
    pub revision: String,
    /// What the file says.
    pub expected: Expected,
    /// How a replay token names the scenario: by name if it is the checkout's, otherwise by path.
    pub called: String,
}

impl Question {
    /// Whether it is this very question, and not one of the same name.
    pub fn is(&self, other: &Question) -> bool {
        Arc::ptr_eq(&self.scenario, &other.scenario) && self.revision == other.revision
    }

    /// Every row of a scenario, in the order of its file.
    pub fn all(scenario: Scenario, called: String) -> Vec<Question> {
        let scenario = Arc::new(scenario);
        let rows = scenario.revisions.iter().filter_map(|revision| {
            Some(Question {
                scenario: Arc::clone(&scenario),
                revision: revision.clone(),
                expected: scenario.expected(revision)?.clone(),
                called: called.clone(),
            })
        });
        rows.collect()
    }

    /// What the explorers run.
    pub fn subject(&self) -> Subject {
        self.scenario.subject(&self.revision)
    }

    /// Its texts.
    pub fn spelled(&self) -> Spelled {
        Spelled::of(&self.subject())
    }

    /// What is recorded of the row beside the verdict.
    pub fn beside(&self) -> Beside {
        let findings = &self.scenario.findings;
        Beside {
            late_wakeup: findings.late_wakeup.contains(&self.revision),
            unexplained: findings.unexplained.contains(&self.revision),
        }
    }

    /// The bounds: the user's, then the scenario's, then the default ones.
    pub fn bounds(&self, settings: &Settings) -> races::Bounds {
        let own = &self.scenario.bounds;
        let mut bounds = races::Bounds::default();
        bounds.executions_max =
            settings.executions.or(own.executions).unwrap_or(bounds.executions_max);
        bounds.samples = settings.samples.or(own.samples).unwrap_or(EVIDENCE);
        bounds.loom_permutations = bounds.samples;
        if self.scenario.kind() == Kind::Story {
            // One CPU has one order of steps: a sampler would run the same one again and again.
            bounds.samples = 1;
        }
        bounds.seed = settings.seed.unwrap_or(bounds.seed);
        bounds.steps_max = own.steps.unwrap_or(bounds.steps_max);
        bounds.preemptions_max = own.preemptions;
        bounds.permitted = scenarios::permitted()
            .iter()
            .map(|p| races::Permitted { call: p.call, errno: p.errno })
            .collect();
        bounds.recycle = match own.heap {
            Heap::Auto => Recycle::Auto,
            Heap::Recycle => Recycle::Always,
            Heap::Fresh => Recycle::Never,
        };
        bounds.loom_seconds = bounds.loom_seconds.min(settings.budget.as_secs().max(1));
        bounds
    }

    /// The explorers that run it.
    pub fn explorers(&self, settings: &Settings) -> Vec<Explorer> {
        let left_in = |e: &Explorer| match e {
            // What loom adds, weak memory, one CPU cannot see.
            Explorer::Loom => settings.loom_exe.is_some() && self.scenario.kind() == Kind::Race,
            Explorer::Dpor | Explorer::Shuttle => true,
        };
        Explorer::ALL
            .iter()
            .copied()
            .filter(|e| settings.explorers.contains(e) && self.scenario.suits(*e))
            .filter(left_in)
            .collect()
    }

    /// The token of an interleaving.
    pub fn token(&self, schedule: &races::Schedule) -> Token {
        Token {
            scenario: self.called.clone(),
            revision: self.revision.clone(),
            schedule: schedule.clone(),
        }
    }
}

/// What one explorer said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who.
    pub explorer: Explorer,
    /// What it found, or why it could not run. Shuttle's samplers are added up.
    pub result: Result<Finding, String>,
    /// For shuttle: how often each sampler failed.
    pub samplers: Vec<(String, u64)>,
    /// How long it took.
    pub time: Duration,
}

/// A question with everything that was said about it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The question.
    pub question: Question,
    /// By explorer, the deciding one first.
    pub answers: Vec<Answer>,
    /// What it is worth.
    pub judgement: Judgement,
}

impl Answered {
    /// What the deciding explorer said.
    pub fn deciding(&self) -> Option<&Finding> {
        let dpor = self.answers.iter().find(|a| a.explorer == Explorer::Dpor)?;
        dpor.result.as_ref().ok()
    }

    /// The failure to show: the deciding explorer's, and otherwise the first one.
    pub fn failure(&self) -> Option<&races::Failure> {
        let findings = self.answers.iter().filter_map(|a| a.result.as_ref().ok());
        findings.filter_map(|f| f.failure.as_ref()).next()
    }

    /// Time that all explorers took together.
    pub fn time(&self) -> Duration {
        self.answers.iter().map(|a| a.time).sum()
    }
}

/// Answers all questions. `done` is called in the order of `questions`, as soon as it can be.
///
/// After an interrupt the questions that are not finished are missing from the result.
pub fn run(
    questions: &[Question],
    settings: &Settings,
    screen: &Screen,
    done: &mut dyn FnMut(&Answered),
) -> Vec<Answered> {
    in_parallel(questions, settings.jobs, screen, |q| answer(q, settings, screen), done)
}

/// Works on all items with several threads. `done` gets the results in the order of the items;
/// after an interrupt some are missing.
pub fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    screen: &Screen,
    work: impl Fn(&T) -> R + Sync,
    done: &mut dyn FnMut(&R),
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    let jobs = jobs.clamp(1, items.len().max(1));
    screen.start(items.len());
    let mut finished = Vec::with_capacity(items.len());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (send, next, work) = (send.clone(), &next, &work);
            scope.spawn(move || loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(i).filter(|_| !interrupt::requested()) else {
                    break;
                };
                // Only a vanished receiver makes this fail, and then nobody wants the answer.
                if send.send((i, work(item))).is_err() {
                    break;
                }
            });
        }
        drop(send);
        let mut early = BTreeMap::new();
        for (i, answered) in receive {
            screen.finished_one();
            early.insert(i, answered);
            while let Some(answered) = early.remove(&finished.len()) {
                done(&answered);
                finished.push(answered);
            }
        }
        // After an interrupt there can be holes: what was finished behind one counts, too.
        for answered in early.into_values() {
            done(&answered);
            finished.push(answered);
        }
    });
    screen.clear();
    finished
}

/// Puts one question to its explorers.
fn answer(question: &Question, settings: &Settings, screen: &Screen) -> Answered {
    let subject = question.subject();
    let bounds = question.bounds(settings);
    let mut answers = Vec::new();
    for explorer in question.explorers(settings) {
        let label = format!("{} {} {}", question.scenario.name, question.revision, explorer.name());
        let watch = Stopwatch::start();
        let mut eyes = Eyes::new(screen, &label, watch, settings.budget);
        let mut samplers = Vec::new();
        // A panic would be a bug of the testbed. It must not take the other answers with it.
        let result = catch_unwind(AssertUnwindSafe(|| match explorer {
            Explorer::Dpor => races::dpor(&subject, &bounds, Backend::Native, &mut eyes)
                .map_err(|e| e.to_string()),
            Explorer::Shuttle => races::portfolio(&subject, &bounds, &mut eyes)
                .map(|findings| sum(findings, &bounds, &mut samplers))
                .map_err(|e| e.to_string()),
            Explorer::Loom => match &settings.loom_exe {
                Some(exe) => {
                    races::loom(&subject, &bounds, exe, &mut eyes).map_err(|e| e.to_string())
                }
                None => Err("there is no binary to start as loom's child".to_owned()),
            },
        }))
        .unwrap_or_else(|panic| {
            let what = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("without a message");
            Err(format!("the testbed itself panicked ({what}); please report this as a bug"))
        });
        drop(eyes);
        let out_of_time = watch.elapsed() >= settings.budget && !interrupt::requested();
        let result = match out_of_time {
            true => result.map(|finding| stopped_by_time(finding, settings.budget)),
            false => result,
        };
        answers.push(Answer { explorer, result, samplers, time: watch.elapsed() });
    }
    let judgement = judge(question, &answers, interrupt::requested());
    Answered { question: question.clone(), answers, judgement }
}

/// An explorer knows only that it was told to stop; the user wants to know why.
fn stopped_by_time(finding: Finding, budget: Duration) -> Finding {
    Finding { note: finding.note.replace("interrupted", &format!("time <= {budget:?}")), ..finding }
}

/// The portfolio as one finding: `random 2,000, urw 2,000, pct3 2,000; seed 7`.
fn sum(
    findings: Vec<(races::Sampler, Finding)>,
    bounds: &races::Bounds,
    samplers: &mut Vec<(String, u64)>,
) -> Finding {
    let mut total = Finding {
        verdict: Verdict::NoneSeen,
        failed: 0,
        executions: 0,
        exhausted: false,
        note: String::new(),
        splats: BTreeMap::new(),
        failure: None,
        pruned: 0,
        estimate: None,
        steps_max_hit: false,
        late_wakeups: 0,
        lock_order: BTreeSet::new(),
        unexplained: None,
    };
    for (sampler, finding) in findings {
        let name = match sampler {
            races::Sampler::Random => "random".to_owned(),
            races::Sampler::Urw => "urw".to_owned(),
            races::Sampler::Pct(depth) => format!("pct{depth}"),
            races::Sampler::Dfs => "dfs".to_owned(),
        };
        samplers.push((name, finding.failed));
        total.failed += finding.failed;
        total.executions += finding.executions;
        total.pruned += finding.pruned;
        total.steps_max_hit |= finding.steps_max_hit;
        for (splat, times) in finding.splats {
            *total.splats.entry(splat).or_default() += times;
        }
        let shorter = match (&total.failure, &finding.failure) {
            (Some(old), Some(new)) => new.context_switches < old.context_switches,
            (None, Some(_)) => true,
            _ => false,
        };
        if shorter {
            total.failure = finding.failure;
        }
    }
    // The word belongs to the sum: each sampler for itself may have failed always or never.
    let shown = total.failure.as_ref().map(|f| f.splat.to_string());
    if let Some(splat) = shown.or_else(|| total.splats.keys().next().cloned()) {
        total.verdict = match total.failed == total.executions {
            true => Verdict::Always { splat },
            false => Verdict::Sometimes { splat },
        };
    }
    let names: Vec<&str> = samplers.iter().map(|(name, _)| name.as_str()).collect();
    total.note = format!("{}, seed {}", names.join(" + "), bounds.seed);
    total
}
