//! A second, tiny engine for litmus programs: variables, mutexes, rwsems, waits and static
//! counters, interpreted without coroutines. It is the independent witness in tests of the
//! explorers: what they find must not depend on the engine that makes the steps.

use uapi::litmus::{Count, Idx, Insn, Litmus, Src, REGS};
use uapi::outcome::{Ending, Outcome};
use uapi::pick::Explore;
use uapi::splat::{Kind, Splat};
use uapi::step::{Access, Accesses, Counter, Cpu, Done, Mode, Pending, Site};

#[derive(Clone, Default)]
struct Thread {
    at: usize,
    regs: [i64; REGS],
}

struct Machine<'a> {
    litmus: &'a Litmus,
    vars: Vec<i64>,
    counts: Vec<i32>,
    /// Exclusive holder and shared holders of each lock; mutexes first, then rwsems.
    held: Vec<(Option<usize>, Vec<usize>)>,
    threads: Vec<Thread>,
    splats: Vec<Splat>,
    stopped: bool,
    unlocks: Vec<(Cpu, u32, u64)>,
}

impl Machine<'_> {
    fn var(&self, i: Idx) -> u32 {
        u32::from(i)
    }
    fn count(&self, c: Count) -> (usize, u32) {
        let Count::Static(i) = c else { panic!("the toy engine has no heap") };
        (usize::from(i), (self.vars.len() + usize::from(i)) as u32)
    }
    fn lock(&self, insn: &Insn) -> Option<(usize, bool)> {
        let m = usize::from(self.litmus.mutexes);
        Some(match insn {
            Insn::MutexLock(i) | Insn::MutexUnlock(i) => (usize::from(*i), true),
            Insn::DownWrite(i) | Insn::UpWrite(i) => (m + usize::from(*i), true),
            Insn::DownRead(i) | Insn::UpRead(i) => (m + usize::from(*i), false),
            _ => return None,
        })
    }
    fn lock_obj(&self, lock: usize) -> u32 {
        (self.vars.len() + self.counts.len() + lock) as u32
    }
    fn src(&self, t: usize, s: Src) -> i64 {
        match s {
            Src::Imm(n) => n,
            Src::Reg(r) => self.threads[t].regs[usize::from(r)],
        }
    }
    fn splat(&mut self, kind: Kind, detail: &str) {
        self.splats.push(Splat { kind, function: String::new(), detail: detail.to_string() });
    }

    /// Runs local instructions; false if the thread is over.
    fn advance(&mut self, t: usize, code: &[Insn]) {
        loop {
            let Some(insn) = code.get(self.threads[t].at) else { return };
            match insn {
                Insn::Set { reg, src } => {
                    self.threads[t].regs[usize::from(*reg)] = self.src(t, *src)
                }
                Insn::SkipUnless { reg, value, skip } => {
                    if self.threads[t].regs[usize::from(*reg)] != *value {
                        self.threads[t].at += usize::from(*skip);
                    }
                }
                Insn::Assert { reg, value } => {
                    if self.threads[t].regs[usize::from(*reg)] != *value {
                        self.splat(Kind::Assertion, "toy");
                        self.stopped = true;
                        return;
                    }
                }
                Insn::MutexUnlock(_) | Insn::UpRead(_) | Insn::UpWrite(_) => {
                    let (lock, exclusive) = self.lock(insn).unwrap();
                    if exclusive {
                        assert_eq!(self.held[lock].0.take(), Some(t));
                    } else {
                        let i = self.held[lock].1.iter().position(|&h| h == t).unwrap();
                        self.held[lock].1.remove(i);
                    }
                    self.unlocks.push((t as Cpu, self.lock_obj(lock), 0));
                }
                _ => return,
            }
            self.threads[t].at += 1;
        }
    }

    fn accesses(&self, insn: &Insn) -> Accesses {
        let mut a = Accesses::new();
        match insn {
            Insn::Load { var, .. } | Insn::Await { var, .. } => {
                a.push(Access::all(self.var(*var), Mode::Read));
            }
            Insn::Store { var, .. } | Insn::FetchAdd { var, .. } | Insn::CmpXchg { var, .. } => {
                a.push(Access::all(self.var(*var), Mode::Write));
            }
            Insn::Atomic { body } => {
                for insn in body {
                    for access in self.accesses(insn) {
                        match a.iter_mut().find(|b| b.obj == access.obj) {
                            Some(b) if access.mode == Mode::Write => b.mode = Mode::Write,
                            Some(_) => {}
                            None => a.push(access),
                        }
                    }
                }
            }
            Insn::MutexLock(_) | Insn::DownWrite(_) | Insn::DownRead(_) => {
                let (lock, exclusive) = self.lock(insn).unwrap();
                let mode = if exclusive { Mode::Lock } else { Mode::LockShared };
                a.push(Access::all(self.lock_obj(lock), mode));
            }
            Insn::RefcountInc { count } => a.push(Access::all(self.count(*count).1, Mode::Add(1))),
            Insn::RefcountDec { count } => a.push(Access::all(self.count(*count).1, Mode::Add(-1))),
            Insn::RefcountIncNotZero { count, .. } => {
                a.push(Access::all(self.count(*count).1, Mode::AddTest(1)));
            }
            Insn::RefcountDecAndTest { count, .. } => {
                a.push(Access::all(self.count(*count).1, Mode::AddTest(-1)));
            }
            Insn::RefcountDecIfOne { count, .. } => {
                a.push(Access::all(self.count(*count).1, Mode::Write));
            }
            Insn::RefcountRead { count, .. } => {
                a.push(Access::all(self.count(*count).1, Mode::Read))
            }
            Insn::RefcountSet { count, .. } => {
                a.push(Access::all(self.count(*count).1, Mode::Write))
            }
            _ => {}
        }
        a
    }

    fn ready(&self, t: usize, insn: &Insn) -> bool {
        match insn {
            Insn::Await { var, value } => self.vars[usize::from(*var)] == *value,
            Insn::MutexLock(_) | Insn::DownWrite(_) | Insn::DownRead(_) => {
                let _ = t;
                let (lock, exclusive) = self.lock(insn).unwrap();
                let (owner, shared) = &self.held[lock];
                owner.is_none() && (!exclusive || shared.is_empty())
            }
            _ => true,
        }
    }

    /// Makes one step.
    fn step(&mut self, t: usize, insn: &Insn) -> Done {
        let mut done = Done { cpu: t as Cpu, counter: None };
        let refcount = |m: &Machine<'_>, c: Count| (m.count(c).0, m.count(c).1);
        match insn {
            Insn::Load { reg, var } => {
                self.threads[t].regs[usize::from(*reg)] = self.vars[usize::from(*var)];
            }
            Insn::Store { var, src } => self.vars[usize::from(*var)] = self.src(t, *src),
            Insn::FetchAdd { reg, var, add } => {
                self.threads[t].regs[usize::from(*reg)] = self.vars[usize::from(*var)];
                self.vars[usize::from(*var)] += add;
            }
            Insn::CmpXchg { reg, var, old, new } => {
                let before = self.vars[usize::from(*var)];
                if before == self.src(t, *old) {
                    self.vars[usize::from(*var)] = self.src(t, *new);
                }
                self.threads[t].regs[usize::from(*reg)] = before;
            }
            Insn::MutexLock(_) | Insn::DownWrite(_) | Insn::DownRead(_) => {
                let (lock, exclusive) = self.lock(insn).unwrap();
                if exclusive {
                    self.held[lock].0 = Some(t);
                } else {
                    self.held[lock].1.push(t);
                }
            }
            Insn::RefcountInc { count } => {
                let (i, obj) = refcount(self, *count);
                let before = self.counts[i];
                let after = if before <= 0 {
                    self.splat(Kind::RefcountAddOnZero, "");
                    i32::MIN / 2
                } else {
                    before + 1
                };
                self.counts[i] = after;
                done.counter = Some(Counter { obj, before, after });
            }
            Insn::RefcountDec { count } => {
                let (i, obj) = refcount(self, *count);
                let before = self.counts[i];
                let after = if before <= 1 {
                    self.splat(Kind::RefcountDecHitZero, "");
                    i32::MIN / 2
                } else {
                    before - 1
                };
                self.counts[i] = after;
                done.counter = Some(Counter { obj, before, after });
            }
            Insn::RefcountIncNotZero { reg, count } => {
                let (i, obj) = refcount(self, *count);
                let before = self.counts[i];
                let after = match before {
                    0 => 0,
                    n if n < 0 => i32::MIN / 2,
                    n => n + 1,
                };
                self.counts[i] = after;
                self.threads[t].regs[usize::from(*reg)] = i64::from(before != 0);
                done.counter = Some(Counter { obj, before, after });
            }
            Insn::RefcountDecAndTest { reg, count } => {
                let (i, obj) = refcount(self, *count);
                let before = self.counts[i];
                let after = if before <= 0 {
                    self.splat(Kind::RefcountUnderflow, "");
                    i32::MIN / 2
                } else {
                    before - 1
                };
                self.counts[i] = after;
                self.threads[t].regs[usize::from(*reg)] = i64::from(before == 1);
                done.counter = Some(Counter { obj, before, after });
            }
            Insn::RefcountDecIfOne { reg, count } => {
                let (i, obj) = refcount(self, *count);
                let before = self.counts[i];
                let ok = before == 1;
                if ok {
                    self.counts[i] = 0;
                }
                self.threads[t].regs[usize::from(*reg)] = i64::from(ok);
                done.counter = Some(Counter { obj, before, after: self.counts[i] });
            }
            Insn::RefcountRead { reg, count } => {
                let (i, _) = refcount(self, *count);
                self.threads[t].regs[usize::from(*reg)] = i64::from(self.counts[i]);
            }
            Insn::RefcountSet { count, value } => {
                let (i, _) = refcount(self, *count);
                self.counts[i] = *value;
            }
            Insn::WarnOn { reg } => {
                if self.threads[t].regs[usize::from(*reg)] != 0 {
                    self.splat(Kind::Warn, "toy");
                }
            }
            Insn::Await { .. } => {}
            Insn::Atomic { body } => {
                for insn in body {
                    self.step(t, insn);
                }
                self.threads[t].at -= body.len();
            }
            other => panic!("the toy engine does not know {other:?}"),
        }
        self.threads[t].at += 1;
        done
    }
}

/// Runs executions until the explorer wants no more.
pub(crate) fn explore(litmus: &Litmus, explorer: &mut dyn Explore) {
    while explorer.next_execution() {
        let mut m = Machine {
            litmus,
            vars: litmus.vars.clone(),
            counts: litmus.counts.clone(),
            held: vec![(None, Vec::new()); usize::from(litmus.mutexes + litmus.rwsems)],
            threads: vec![Thread::default(); litmus.threads.len()],
            splats: Vec::new(),
            stopped: false,
            unlocks: Vec::new(),
        };
        let ending = run(&mut m, explorer);
        explorer.finished(ending);
        let mut state: Vec<i64> =
            m.threads.iter().take(litmus.threads.len()).flat_map(|t| t.regs).collect();
        state.extend(&m.vars);
        explorer.outcome((ending != Ending::Pruned).then(|| Outcome {
            ending,
            results: Vec::new(),
            splats: m.splats,
            steps: 0,
            stale_compare: false,
            late_wakeups: Default::default(),
            lock_order: Vec::new(),
            reached: Vec::new(),
            apart: Vec::new(),
            state,
            trace: None,
        }));
    }
}

fn run(m: &mut Machine<'_>, explorer: &mut dyn Explore) -> Ending {
    let litmus = m.litmus;
    let mut current = None;
    let mut pending: Vec<Pending> = Vec::new();
    for t in 0..litmus.threads.len() {
        m.advance(t, &litmus.threads[t]);
        if m.stopped {
            return Ending::Stopped;
        }
    }
    loop {
        pending.clear();
        for (t, code) in litmus.threads.iter().enumerate() {
            let Some(insn) = code.get(m.threads[t].at) else { continue };
            pending.push(Pending {
                cpu: t as Cpu,
                enabled: m.ready(t, insn),
                awaits: matches!(insn, Insn::Await { .. }),
                op: "toy",
                site: Site { file: "toy", line: m.threads[t].at as u32, column: 1 },
                accesses: m.accesses(insn),
            });
        }
        if pending.is_empty() {
            break;
        }
        if pending.iter().all(|p| !p.enabled) {
            explorer.stuck(&pending);
            m.splat(Kind::HungTask, "");
            return Ending::Deadlock;
        }
        let Some(cpu) = explorer.pick(&pending, current) else { return Ending::Pruned };
        current = Some(cpu);
        let t = usize::from(cpu);
        let done = m.step(t, &litmus.threads[t][m.threads[t].at]);
        m.advance(t, &litmus.threads[t]);
        explorer.done(&done);
        for (cpu, obj, key) in m.unlocks.drain(..) {
            explorer.unlocked(cpu, obj, key);
        }
        if m.stopped {
            return Ending::Stopped;
        }
    }
    explorer.quiescent();
    m.threads.push(Thread::default());
    let t = litmus.threads.len();
    m.advance(t, &litmus.finally);
    while !m.stopped && m.threads[t].at < litmus.finally.len() {
        m.step(t, &litmus.finally[m.threads[t].at]);
        m.advance(t, &litmus.finally);
    }
    if m.stopped {
        Ending::Stopped
    } else {
        Ending::Complete
    }
}
