//! The sequential model, asked step by step: beginnings of orders, given up as soon as a call
//! answers otherwise.
//!
//! [`Sequential::explains`] makes whole orders, of which eight calls on eight CPUs have 40,320. Most
//! orders differ from the wanted answers early, so here an order grows call by call, and nothing is
//! made of a beginning that cannot be right.

use crate::families::{inject, FAIL_NTH_MAX};
use crate::orders::{answers, in_order, Said, Sequential, Tried};
use crate::{FailAt, ModelError, Subject};
use std::collections::{BTreeMap, BTreeSet};
use uapi::outcome::{Place, StepResult};
use uapi::program::Program;
use uapi::step::Cpu;

/// Whether answers are those of some order of the calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Explained {
    Yes,
    No,
    /// The bound ended the search.
    NotWithin,
}

impl Sequential<'_> {
    /// As [`Sequential::explains`], with at most `most` executions. CPUs that ended first in
    /// `choices` are tried first: in most executions that is the order.
    pub fn explains_within(
        &mut self,
        results: &[StepResult],
        choices: &[Cpu],
        most: u32,
    ) -> Result<Explained, ModelError> {
        let Subject::Program { program, revision } = self.subject else {
            return Ok(Explained::Yes);
        };
        if program.cpus.len() < 2 {
            return Ok(Explained::Yes);
        }
        let mut cpus: Vec<Cpu> = (0..program.cpus.len() as Cpu).collect();
        cpus.sort_by_key(|cpu| choices.iter().rposition(|c| c == cpu));
        let mut search = Search {
            sequential: self,
            wanted: answers(results, program),
            results,
            revision,
            cpus,
            left: most,
            cut: false,
            injected: false,
            nth: 0,
        };
        let found = search.at_once(program)? || search.with(program)? || search.moved()?;
        Ok(match (found, search.cut) {
            (true, _) => Explained::Yes,
            (false, true) => Explained::NotWithin,
            (false, false) => Explained::No,
        })
    }
}

struct Search<'a, 's> {
    sequential: &'a mut Sequential<'s>,
    wanted: BTreeSet<Said>,
    results: &'a [StepResult],
    revision: &'s str,
    cpus: Vec<Cpu>,
    left: u32,
    cut: bool,
    injected: bool,
    /// The failing point that is injected.
    nth: u32,
}

/// What the calls of a beginning answer, in every execution of it.
#[derive(Clone, Default)]
pub(crate) struct Given {
    answers: BTreeSet<BTreeSet<Said>>,
    injected: bool,
}

/// What was made already: by the failing point and the order.
pub(crate) type Made = BTreeMap<(u32, Vec<(Cpu, u32)>), Given>;

/// A beginning of an order.
struct Beginning {
    order: Vec<(Cpu, u32)>,
    /// How many calls of each CPU stand in it or were left out.
    at: Vec<u32>,
    left_out: Vec<(Cpu, u32)>,
}

impl Search<'_, '_> {
    fn with(&mut self, program: &Program) -> Result<bool, ModelError> {
        let at = vec![0; program.cpus.len()];
        let mut empty = Beginning { order: Vec::new(), at, left_out: Vec::new() };
        self.extend(program, &mut empty)
    }

    /// One CPU after the other, which is what most executions are to their calls.
    fn at_once(&mut self, program: &Program) -> Result<bool, ModelError> {
        let calls = |cpu: Cpu| 0..program.list(Place::Cpu(cpu)).len() as u32;
        let order = self.cpus.iter().flat_map(|cpu| calls(*cpu).map(|index| (*cpu, index)));
        let at = program.cpus.iter().map(|calls| calls.len() as u32).collect();
        let whole = Beginning { order: order.collect(), at, left_out: Vec::new() };
        self.answers_so(program, &whole)
    }

    /// With the failure at another of its points, as [`Sequential::explains`] does.
    fn moved(&mut self) -> Result<bool, ModelError> {
        let Some(f) = self.sequential.fail.first() else { return Ok(false) };
        for nth in (1..=FAIL_NTH_MAX).filter(|nth| *nth != f.nth) {
            let fail = FailAt { nth, ..*f };
            let subject =
                inject(self.sequential.subject, &[fail]).map_err(ModelError::Malformed)?;
            let Subject::Program { program, .. } = &subject else { return Ok(false) };
            (self.injected, self.nth) = (false, nth);
            if self.with(program)? {
                return Ok(true);
            }
            if !self.injected || self.cut {
                break;
            }
        }
        Ok(false)
    }

    fn extend(&mut self, program: &Program, begun: &mut Beginning) -> Result<bool, ModelError> {
        let mut ended = true;
        for cpu in self.cpus.clone() {
            let (slot, index) = (usize::from(cpu), begun.at[usize::from(cpu)]);
            if program.list(Place::Cpu(cpu)).get(index as usize).is_none() {
                continue;
            }
            ended = false;
            begun.at[slot] += 1;
            begun.order.push((cpu, index));
            let found = self.answers_so(program, begun)? && self.extend(program, begun)?;
            begun.order.pop();
            if found {
                return Ok(true);
            }
            if self.may_be_left_out(program, cpu, index) {
                begun.left_out.push((cpu, index));
                let found = self.extend(program, begun)?;
                begun.left_out.pop();
                if found {
                    return Ok(true);
                }
            }
            begun.at[slot] -= 1;
        }
        // Every call was made and answered so; with calls left out at the end, or without any
        // call, `finally` is still to be asked.
        Ok(ended
            && (begun.left_out.is_empty() && !begun.order.is_empty()
                || self.answers_so(program, begun)?))
    }

    fn may_be_left_out(&self, program: &Program, cpu: Cpu, index: u32) -> bool {
        let result = self.results.iter().find(|r| (r.place, r.index) == (Place::Cpu(cpu), index));
        result.is_some_and(|r| self.sequential.is_permitted(r, program))
    }

    /// Whether the calls answer as wanted when they are made in this order.
    fn answers_so(&mut self, program: &Program, begun: &Beginning) -> Result<bool, ModelError> {
        let lists = program.cpus.iter().map(Vec::len);
        let whole = lists.zip(&begun.at).all(|(calls, at)| calls == *at as usize);
        let wanted: BTreeSet<Said> = self
            .wanted
            .iter()
            .filter(|said| match said.place {
                Place::Cpu(cpu) => begun.order.contains(&(cpu, said.index)),
                _ => whole,
            })
            .cloned()
            .collect();
        // Of a beginning `finally` is no part; an order without a call is one of its own.
        let key = (self.nth, begun.order.clone());
        if whole && !begun.left_out.is_empty() && !program.finally.is_empty() {
            let given = self.make(program, begun, whole)?;
            return Ok(given.is_some_and(|given| given.answers.contains(&wanted)));
        }
        if let Some(given) = self.sequential.made.get(&key) {
            self.injected |= given.injected;
            return Ok(given.answers.contains(&wanted));
        }
        let Some(given) = self.make(program, begun, whole)? else { return Ok(false) };
        let found = given.answers.contains(&wanted);
        self.sequential.made.insert(key, given);
        Ok(found)
    }

    /// Makes the calls in this order, if there is budget left.
    fn make(
        &mut self,
        program: &Program,
        begun: &Beginning,
        whole: bool,
    ) -> Result<Option<Given>, ModelError> {
        if self.left == 0 {
            self.cut = true;
            return Ok(None);
        }
        self.left -= 1;
        let finally = if whole { program.finally.clone() } else { Vec::new() };
        let part = Program { finally, ..program.clone() };
        let mut tried = Tried::default();
        in_order(&part, self.revision, &begun.order, &self.sequential.limits, &mut tried)?;
        self.injected |= tried.injected;
        Ok(Some(Given { answers: tried.given, injected: tried.injected }))
    }
}
