//! The command line.

use crate::answers;
use crate::catalogue;
use crate::check::{Settings, BUDGET};
use crate::columns::Steps;
use crate::commands;
use crate::files::Directory;
use crate::mutate;
use crate::output::{self, complain};
use crate::pairs;
use crate::report::{self, ReportOptions};
use crate::run::Exit;
use crate::simulate;
use crate::sweep::{self, SweepOptions};
use clap::{Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use scenarios::{Explorer, ScenarioError};
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0    every verdict is the recorded one (replay: the interleaving ran)
  1    a verdict differs, or anything from --baseline (replay: the execution goes another way
       than the token says)
  2    bad usage or a bad file
  3    out of budget before a verdict
  130  interrupted by Ctrl-C; what was finished is written out";

const ANSWERS_CODES: &str = "\
Exit codes:
  0    every sequence agrees
  1    a sequence differs
  2    bad usage or a bad file";
const MUTATE_EXIT_CODES: &str = "\
Exit codes:
  0    every change is noticed, or listed in scenarios/survivors.toml
  1    a change is neither, an entry of survivors.toml excuses nothing, or a verdict differs
       without any change
  2    bad usage or a bad file
  130  interrupted by Ctrl-C";

const PAIRS_EXIT_CODES: &str = "\
Exit codes:
  0    every race is exhausted, and what it shows is known
  1    a race shows something that the file does not list, or an entry of the file is stale
  2    bad usage or a bad file
  3    a race ran out of budget
  130  interrupted by Ctrl-C";

const SIMULATE_EXIT_CODES: &str = "\
Exit codes:
  0    what the programs show is known
  1    a program shows something that is not known; with --nightly also: a place of the model was
       not reached, and nothing says that it cannot be
  2    bad usage or a bad file
  3    the time was over before the runs were made, or runs are in no journal
  130  interrupted by Ctrl-C; what was finished is printed and written";

const SWEEP_EXIT_CODES: &str = "\
Exit codes:
  0    answered
  1    a figure is another than that of --baseline
  2    bad usage or a bad file
  130  interrupted by Ctrl-C; the questions that were answered are written out";

/// Settles race claims about iommufd: runs small programs of iommufd calls on a model of the
/// kernel, in every interleaving, and holds what it finds against the recorded verdicts.
///
/// Without a command it runs `check` on all scenarios.
#[derive(Parser, Debug)]
#[command(name = "iommufd-testbed", version, after_help = EXIT_CODES)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    check: CheckOptions,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run scenarios on every revision they name, and compare the verdicts with the recorded
    /// ones. This is the default.
    #[command(after_help = EXIT_CODES)]
    Check {
        /// Scenario files, or names of scenarios of the checkout. None: all of the checkout.
        #[arg(value_name = "FILE or NAME")]
        what: Vec<String>,
        #[command(flatten)]
        options: CheckOptions,
    },
    /// Show the scenarios and the revisions of the kernel model.
    List {
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Text::Human)]
        format: Text,
    },
    /// Show what one scenario asks, what it runs, and which kernel functions it goes through.
    Explain {
        /// Name of a scenario of the checkout, or a file.
        name: String,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Text::Human)]
        format: Text,
    },
    /// Run one recorded interleaving again and draw it in columns.
    #[command(after_help = EXIT_CODES)]
    Replay {
        /// What `check` printed behind `replay:`, or a failure file that `check -o DIR` wrote.
        #[arg(value_name = "TOKEN or FILE")]
        what: String,
        /// Draw every step, not only those that meet another CPU.
        #[arg(long)]
        all: bool,
        /// Show the object graph (ids, counters, pointers) after each step.
        #[arg(long)]
        graph: bool,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Text::Human)]
        format: Text,
    },
    /// Replay what a real kernel was asked, and say where the model answers differently.
    ///
    /// FILE has JSON lines, one recorded step each, as in scenarios/answers (its README describes
    /// the form). Printed are the first differing step of each sequence and a closing line.
    #[command(after_help = ANSWERS_CODES)]
    Answers {
        /// The recording.
        #[arg(value_name = "FILE.jsonl")]
        file: PathBuf,
        /// The revision to compare it with (name or alias).
        #[arg(long, value_name = "R")]
        revision: String,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Text::Human)]
        format: Text,
    },
    /// Omit, repeat or weaken each step of the model at run time, and say which changes no
    /// scenario notices.
    #[command(after_help = MUTATE_EXIT_CODES)]
    Mutate {
        #[command(flatten)]
        options: MutateOptions,
    },
    /// Hold every call of the API against every other, on every way of sharing objects that
    /// scenarios/pairs.toml sets up, and say what their interleavings show.
    #[command(after_help = PAIRS_EXIT_CODES)]
    Pairs {
        #[command(flatten)]
        options: PairsOptions,
    },
    /// Draw programs over the whole API from one seed, with faults, unplugged devices and processes
    /// that exit, run them under drawn schedules, and make what fails smaller.
    ///
    /// On a row of the command queue (`cmdq_…`) it draws CPUs that issue lists, batches and a guest's
    /// invalidations, and the errors of the SMMU.
    /// Every run has a seed of its own, so that threads, parts and order change nothing. What is
    /// not known of the row becomes a scenario file (-o DIR) that `check` reproduces.
    #[command(after_help = SIMULATE_EXIT_CODES, args_conflicts_with_subcommands = true)]
    #[command(subcommand_negates_reqs = true)]
    Simulate {
        #[command(subcommand)]
        command: Option<SimulateCommand>,
        #[command(flatten)]
        options: Option<SimulateOptions>,
    },
    /// What does a batch size, a queue type or a SYNC mode buy on an SMMUv3 command queue? Asks
    /// a cost model in virtual time.
    ///
    /// Without axes it answers a list of questions, each with a table and one sentence; with some
    /// (--cpus 1,8,64 --queue cmpxchg,ecmdq) it runs their product. reports/cost-model.md says how
    /// far to trust it, scenarios/profiles/README.md how to describe a machine.
    #[command(after_help = SWEEP_EXIT_CODES)]
    Sweep {
        #[command(flatten)]
        options: SweepOptions,
    },
    /// Run scenarios as `check` does, and write one page of it all: the verdicts, each race, each
    /// failing interleaving step by step, what the cost model says, and the findings.
    ///
    /// The HTML is one file that needs no network and no server. The exit code is that of the run.
    #[command(after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
    Report {
        #[command(subcommand)]
        command: Option<ReportCommand>,
        /// Scenario files, or names of scenarios of the checkout. None: all of the checkout.
        #[arg(value_name = "FILE or NAME")]
        what: Vec<String>,
        #[command(flatten)]
        options: ReportOptions,
    },
    /// Print the JSON Schema of the scenario format.
    Schema,
    /// Print the manual page, or write those of all commands.
    Man {
        /// Write iommufd-testbed.1 and a page per command into this directory.
        #[arg(short = 'o', value_name = "DIR")]
        output: Option<PathBuf>,
    },
    /// Print the completions for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// What a loom run starts: reads a subject from stdin, writes findings to stdout.
    #[command(hide = true)]
    LoomChild,
}

/// How `check` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// Observation lines, and pictures of what differs.
    Human,
    /// `verdicts.json` on stdout.
    Json,
    /// JUnit XML on stdout.
    Junit,
}

/// How the other commands print.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Text {
    /// For people.
    Human,
    /// JSON.
    Json,
}

/// What is run, and how far: the options that `check` and `report` share.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// Only this revision (name or alias). Can be repeated.
    #[arg(long, value_name = "R")]
    pub revision: Vec<String>,
    /// Only this explorer: dpor, which decides, shuttle or loom. Can be repeated.
    #[arg(long, value_name = "E", value_parser = explorer)]
    pub explorer: Vec<Explorer>,
    /// Time after which one explorer gives up on one question: a safety net, such as 90s or 5m.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub budget: Duration,
    /// Executions after which dpor gives up on one question.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub executions: Option<u64>,
    /// Executions of each random sampler, and of loom, on one question.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub samples: Option<u64>,
    /// Seed of the random samplers.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Only the K-th of N parts of the questions, to spread a run over machines.
    #[arg(long, value_name = "K/N", value_parser = shard)]
    pub shard: Option<Shard>,
    /// Questions that are explored at the same time. Default: one per CPU of the machine.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}

/// How many threads work: as many as were asked for, or one per CPU of the machine.
pub fn jobs_or_cpus(jobs: Option<u16>) -> usize {
    let cpus = || std::thread::available_parallelism().map_or(1, |n| n.get());
    jobs.map_or_else(cpus, usize::from)
}

/// The settings of a command that has these bounds and no choice of explorers.
fn bounded(budget: Duration, executions: Option<u64>, jobs: Option<u16>) -> Settings {
    Settings { budget, executions, jobs: jobs_or_cpus(jobs), ..Settings::default() }
}

impl RunOptions {
    /// As the runner wants them.
    pub fn settings(&self) -> Settings {
        Settings {
            explorers: match self.explorer.is_empty() {
                true => Explorer::ALL.to_vec(),
                false => self.explorer.clone(),
            },
            executions: self.executions,
            samples: self.samples,
            seed: self.seed,
            budget: self.budget,
            jobs: jobs_or_cpus(self.jobs),
            loom_exe: std::env::current_exe().ok(),
        }
    }
}

/// Options of `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckOptions {
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    #[command(flatten)]
    #[expect(missing_docs)] // clap would print a comment on a group as the text of its command
    pub run: RunOptions,
    /// Write verdicts.json, junit.xml and one file per failure into this directory.
    #[arg(short = 'o', value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Also compare with an earlier run, kept with `check --format json > FILE`. A change is
    /// exit 1.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Only what differs, and the summary.
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Draw the expected failures, too.
    #[arg(long, short)]
    pub verbose: bool,
}

/// Options of `mutate`.
#[derive(Args, Clone, Debug)]
pub struct MutateOptions {
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Text::Human)]
    pub format: Text,
    /// Only this revision (name or alias). Can be repeated. Default: all that are no twins.
    #[arg(long, value_name = "R")]
    pub revision: Vec<String>,
    /// Only the steps of this C function. Can be repeated.
    #[arg(long, value_name = "F")]
    pub function: Vec<String>,
    /// Time after which one scenario gives up on one change: a safety net, such as 90s or 5m.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub budget: Duration,
    /// Executions after which one scenario gives up on one change. Default: four times what it
    /// takes without a change, and at least 4,096.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub executions: Option<u64>,
    /// Only the K-th of N parts of the changes: a sample, or one machine's part.
    #[arg(long, value_name = "K/N", value_parser = shard)]
    pub shard: Option<Shard>,
    /// Changes that are tried at the same time. Default: one per CPU of the machine.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// No progress bar.
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show the changes that are listed in survivors.toml, too, with their reasons.
    #[arg(long, short)]
    pub verbose: bool,
    /// Only print the call sites and what can be changed there, as `mutant` of a scenario takes
    /// them.
    #[arg(long)]
    pub list: bool,
}

impl MutateOptions {
    /// As the runner wants them.
    pub fn settings(&self) -> Settings {
        bounded(self.budget, self.executions, self.jobs)
    }
}

/// Options of `pairs`.
#[derive(Args, Clone, Debug)]
pub struct PairsOptions {
    /// A file of worlds instead of scenarios/pairs.toml.
    #[arg(value_name = "FILE.toml")]
    pub file: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Text::Human)]
    pub format: Text,
    /// On this revision (name or alias). Can be repeated. Default: the newest texts.
    #[arg(long, value_name = "R")]
    pub revision: Vec<String>,
    /// Only this world. Can be repeated.
    #[arg(long, value_name = "NAME")]
    pub world: Vec<String>,
    /// One call fails, at each of its failing points in turn.
    #[arg(long)]
    pub fail: bool,
    /// Three calls instead of two.
    #[arg(long)]
    pub triples: bool,
    /// Time after which one race is given up: a safety net, such as 90s or 5m.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub budget: Duration,
    /// Executions after which one race is given up. Default: 200,000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub executions: Option<u64>,
    /// Only the K-th of N parts of the races: a sample, or one machine's part.
    #[arg(long, value_name = "K/N", value_parser = shard)]
    pub shard: Option<Shard>,
    /// Races that are explored at the same time. Default: one per CPU of the machine.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Write a scenario file for every race that shows something unknown into this directory.
    #[arg(short = 'o', value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// No progress bar.
    #[arg(long, short)]
    pub quiet: bool,
}

impl PairsOptions {
    /// As the runner wants them.
    pub fn settings(&self) -> Settings {
        bounded(self.budget, self.executions, self.jobs)
    }
}

#[derive(Subcommand, Debug)]
enum ReportCommand {
    /// What `simulate merge` does: the journals of the parts of one simulation, as one.
    Merge {
        #[command(flatten)]
        options: MergeOptions,
    },
}

#[derive(Subcommand, Debug)]
enum SimulateCommand {
    /// Put the journals of the parts of one simulation together: the same output as that of one
    /// run over all of them.
    Merge {
        #[command(flatten)]
        options: MergeOptions,
    },
    /// How many programs does it take from scratch to find bugs that are known, against shuttle's
    /// random scheduler on the same programs?
    Demo {
        #[command(flatten)]
        options: DemoOptions,
    },
}

/// Options of `simulate demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoOptions {
    /// Seeds of each case; the table has the median.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Programs after which a seed gives up.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: u64,
    /// Also for how long.
    #[arg(long)]
    pub seconds: bool,
}

/// Options of `simulate`.
#[derive(Args, Clone, Debug)]
pub struct SimulateOptions {
    /// On this revision (name or alias), of iommufd or of the command queue (`cmdq_…`).
    #[arg(long, value_name = "R")]
    pub revision: String,
    /// The seed that everything is drawn from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Number of the first run.
    #[arg(long, value_name = "I", default_value_t = 0)]
    pub from: u64,
    /// How many programs. Default: 1,000, or as many as the time of --budget allows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: Option<u64>,
    /// For how long programs are drawn, such as 90s, 5m or 8h. With --runs a safety net.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub budget: Option<Duration>,
    /// Append every finished run to this file, and skip the runs that stand in it.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Only the K-th of N parts of the runs, to spread them over machines.
    #[arg(long, value_name = "K/N", value_parser = shard)]
    pub shard: Option<Shard>,
    /// Programs that are run at the same time. Default: one per CPU of the machine.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Kinds of failures that are looked into, the earliest first.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub findings: usize,
    /// Show which call sites of the row were reached, and what the calls answered.
    #[arg(long)]
    pub coverage: bool,
    /// The nightly profile: 40,000 programs if neither their number nor a time is given, every kind
    /// of failure looked into, --coverage, and exit 1 if the coverage has a hole.
    #[arg(long)]
    pub nightly: bool,
    /// Take nothing as known: show and write everything.
    #[arg(long)]
    pub all: bool,
    /// Write a scenario file and its columns for everything that is not known into this directory.
    #[arg(short = 'o', value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// No progress bar.
    #[arg(long, short)]
    pub quiet: bool,
    /// Print every run: what was drawn, the program, what came of it.
    #[arg(long, short)]
    pub verbose: bool,
}

/// Options of `simulate merge`.
#[derive(Args, Clone, Debug)]
pub struct MergeOptions {
    /// Journals that `simulate --journal FILE --shard K/N` wrote.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Kinds of failures that are looked into, the earliest first.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub findings: usize,
    /// Show which call sites of the row were reached, and what the calls answered.
    #[arg(long)]
    pub coverage: bool,
    /// As `simulate --nightly`: every kind of failure looked into, --coverage, and exit 1 if the
    /// coverage has a hole.
    #[arg(long)]
    pub nightly: bool,
    /// Write a scenario file and its columns for everything that is not known into this directory.
    #[arg(short = 'o', value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// One part of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    /// Which part, from 1.
    pub part: usize,
    /// How many parts.
    pub parts: usize,
}

impl Shard {
    /// Whether the question at this place of the list belongs to it.
    pub fn holds(&self, index: usize) -> bool {
        index % self.parts == self.part - 1
    }
}

fn shard(text: &str) -> Result<Shard, String> {
    let form = || format!("`{text}` is no part of a run: write K/N with 1 <= K <= N, such as 2/3");
    let (part, parts) = text.split_once('/').ok_or_else(form)?;
    let part: usize = part.parse().map_err(|_| form())?;
    let parts: usize = parts.parse().map_err(|_| form())?;
    if part == 0 || part > parts {
        return Err(form());
    }
    Ok(Shard { part, parts })
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let form = || format!("`{text}` is no time: write a number and a unit, such as 90s or 5m");
    let number: u64 = text[..digits].parse().map_err(|_| form())?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(form()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(form)
}

fn explorer(text: &str) -> Result<Explorer, String> {
    Explorer::ALL.iter().copied().find(|e| e.name() == text).ok_or_else(|| {
        let names: Vec<&str> = Explorer::ALL.iter().map(|e| e.name()).collect();
        format!("there is no explorer `{text}`; there are {}", names.join(", "))
    })
}

/// Why a command could not do its work.
#[derive(Debug)]
pub enum Failed {
    /// A message with the next step for the user, and the exit code.
    Because(String, Exit),
    /// Scenario files that cannot be read.
    Scenarios(Vec<ScenarioError>),
}

impl Failed {
    /// Bad usage.
    pub fn usage(message: impl Into<String>) -> Failed {
        Failed::Because(message.into(), Exit::BadUsage)
    }
}

impl From<ScenarioError> for Failed {
    fn from(e: ScenarioError) -> Failed {
        Failed::Scenarios(vec![e])
    }
}

/// The arguments, or the page or the complaint that clap has instead.
fn command_line() -> Result<Cli, clap::Error> {
    // Left to itself, clap colours what it prints on any terminal as soon as `CI` is set.
    let color = match output::is_dumb() {
        true => ColorChoice::Never,
        false => ColorChoice::Auto,
    };
    let matches = Cli::command().color(color).try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

/// Runs the command line and returns the exit code.
pub fn main() -> u8 {
    debug_assert_eq!(BUDGET, Duration::from_secs(60), "the default of --budget");
    let cli = match command_line() {
        Ok(cli) => cli,
        Err(e) => {
            // clap takes a full disk for a page that was read.
            if let Err(full) = e.print() {
                complain(&format!(
                    "error: cannot write: {full}; make room, or redirect it to another place"
                ));
                return Exit::BadUsage.code();
            }
            return u8::try_from(e.exit_code()).unwrap_or(Exit::BadUsage.code());
        }
    };
    let result = match cli.command {
        None => commands::check(&[], &cli.check),
        Some(Command::Check { what, options }) => commands::check(&what, &options),
        Some(Command::List { format }) => catalogue::list(format),
        Some(Command::Explain { name, format }) => catalogue::explain(&name, format),
        Some(Command::Replay { what, all, graph, format }) => {
            let steps = if all { Steps::All } else { Steps::Meeting };
            commands::replay(&what, steps, graph, format)
        }
        Some(Command::Answers { file, revision, format }) => {
            answers::answers(&file, &revision, format)
        }
        Some(Command::Mutate { options }) => mutate::mutate(&options),
        Some(Command::Pairs { options }) => pairs::pairs(&options),
        Some(Command::Simulate { command: Some(SimulateCommand::Merge { options }), .. }) => {
            simulate::merge(&options)
        }
        Some(Command::Simulate { command: Some(SimulateCommand::Demo { options }), .. }) => {
            simulate::demonstrate(&options)
        }
        Some(Command::Simulate { command: None, options }) => match options {
            Some(options) => simulate::simulate(&options),
            None => Err(Failed::usage("name a row: `simulate --revision linux_7_3`")),
        },
        Some(Command::Sweep { options }) => sweep::sweep(&options),
        Some(Command::Report { command: Some(ReportCommand::Merge { options }), .. }) => {
            simulate::merge(&options)
        }
        Some(Command::Report { command: None, what, options }) => report::report(&what, &options),
        Some(Command::Schema) => commands::schema(),
        Some(Command::Man { output }) => man(output.as_deref()),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "iommufd-testbed", &mut script);
            output::answer(&String::from_utf8_lossy(&script));
            Ok(Exit::AsRecorded)
        }
        Some(Command::LoomChild) => {
            // The child reports through its pipe; its own code is only for the parent.
            return u8::try_from(races::loom_child()).unwrap_or(u8::MAX);
        }
    };
    match result {
        Ok(exit) => exit.code(),
        Err(Failed::Because(message, exit)) => {
            complain(&format!("error: {message}"));
            exit.code()
        }
        Err(Failed::Scenarios(errors)) => {
            let columns = terminal_size::terminal_size_of(std::io::stderr());
            let columns = columns.map_or(usize::MAX, |(width, _)| usize::from(width.0));
            for error in errors {
                let (file, problems) = (error.file().to_owned(), error.each());
                let many = problems.len();
                for problem in problems {
                    let report = miette::Report::new(problem.within(columns));
                    output::complain_as_it_is(&format!("{report:?}"));
                }
                if many > 1 {
                    complain(&format!("{file}: {many} errors"));
                }
            }
            Exit::BadUsage.code()
        }
    }
}

/// The page with all arguments of its head: without a date, which clap_mangen leaves out instead of empty,
/// `man` takes the next one for it.
fn with_a_head(page: &str) -> String {
    let head = |line: &str| {
        let name = line.strip_prefix(".TH ")?.split(' ').next()?;
        Some(format!(".TH {name} 1 \"\" \"iommufd-testbed {}\" \"\"", env!("CARGO_PKG_VERSION")))
    };
    let lines = page.lines().map(|line| head(line).unwrap_or_else(|| line.to_owned()) + "\n");
    lines.collect()
}

/// `man`
fn man(output: Option<&Path>) -> Result<Exit, Failed> {
    let mut command = Cli::command();
    command.build();
    let page = |command: &clap::Command| {
        let man = clap_mangen::Man::new(command.clone());
        let mut text = Vec::new();
        let file = man.get_filename();
        let written = man.render(&mut text);
        written.map_err(|e| Failed::usage(format!("cannot write {file}: {e}")))?;
        Ok::<_, Failed>((file, with_a_head(&String::from_utf8_lossy(&text))))
    };
    let Some(directory) = output else {
        output::answer(&page(&command)?.1);
        return Ok(Exit::AsRecorded);
    };
    let directory = Directory::open(directory).map_err(Failed::usage)?;
    let commands = command.get_subcommands().filter(|c| !c.is_hide_set());
    for command in std::iter::once(&command).chain(commands) {
        let (file, text) = page(command)?;
        directory.write(&file, &text).map_err(Failed::usage)?;
    }
    Ok(Exit::AsRecorded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_manual_page_has_no_date_and_a_version() {
        let page = with_a_head(".ie x\n.TH check 1  \"check \" \n.SH NAME\n");
        let version = env!("CARGO_PKG_VERSION");
        let head =
            format!(".ie x\n.TH check 1 \"\" \"iommufd-testbed {version}\" \"\"\n.SH NAME\n");
        assert_eq!(page, head);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for bad in ["", "s", "-1s", "1 s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_shards_of_a_run_are_the_run() {
        for bad in ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2"] {
            assert!(shard(bad).is_err(), "{bad}");
        }
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|s| shard(s).expect(s)).to_vec();
        for index in 0..10 {
            assert_eq!(shards.iter().filter(|s| s.holds(index)).count(), 1);
        }
    }
}
