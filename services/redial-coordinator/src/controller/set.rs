//! Objects to policies: which are valid, which win, and in which order they are tried. Pure, so that every replica comes to the same
//! result from the same objects.

use std::cmp::Reverse;
use std::collections::HashMap;

use redial_core::policy::{PolicyError, PolicySet, Rule};
use redial_crd::{Claim, InForce, RedialPolicyStatus, Scope};
use serde_json::Value;

/// A RedialPolicy as the API server has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    pub name: String,
    /// Tells an object from one of the same name that was deleted.
    pub uid: String,
    pub generation: i64,
    /// Seconds since 1970.
    pub created: i64,
    pub spec: Value,
    pub status: RedialPolicyStatus,
}

/// What was in force when the objects were looked at last, by uid. It stands in for a spec that is no longer valid; after a restart the
/// object's own status does.
pub type Known = HashMap<String, InForce>;

/// What became of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub accepted: Accepted,
    /// None: the object has no effect.
    pub in_force: Option<InForce>,
}

/// What became of an object as it is written now.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    Yes,
    /// Every key that is wrong.
    Invalid(Vec<PolicyError>),
    /// Another object, which is named, is for the same callees with the same priority and is older.
    Conflict(String),
}

/// All objects together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    pub set: PolicySet,
    /// Index of the object behind each rule of the set.
    pub rules: Vec<usize>,
    /// Index of the object behind the default policy.
    pub default: Option<usize>,
    /// One for each object.
    pub verdicts: Vec<Verdict>,
}

/// An object that asks to be in force: what it is now, or what it was.
struct Candidate<T> {
    object: usize,
    policy: T,
    priority: i32,
    in_force: InForce,
}

impl Compiled {
    /// What `known` should be next time.
    #[must_use]
    pub fn known(&self, objects: &[Object]) -> Known {
        objects.iter().zip(&self.verdicts).filter_map(|(object, verdict)| Some((object.uid.clone(), verdict.in_force.clone()?))).collect()
    }
}

/// Judges every object.
///
/// - A spec that is wrong is replaced by what was in force before, if it was for a default or for selected callees like the new one.
/// - Of several default policies, and of several with the same selector and priority, the oldest counts, then the first by name.
/// - Rules are tried by priority, then a domain before `*`, a user part without `*` before one with it, longer before shorter, by name.
#[must_use]
pub fn compile(objects: &[Object], known: &Known) -> Compiled {
    let claims: Vec<Result<Claim, Vec<PolicyError>>> = objects.iter().map(|object| Claim::read(&object.spec)).collect();
    let lasts: Vec<Option<(InForce, Claim)>> = objects.iter().map(|object| last_good(object, known)).collect();
    let mut verdicts: Vec<Verdict> = objects.iter().map(|_| Verdict { accepted: Accepted::Yes, in_force: None }).collect();
    let of_default = |n: usize| match (&claims[n], &lasts[n]) {
        (Ok(claim), _) | (Err(_), Some((_, claim))) => claim.scope == Scope::Default,
        (Err(_), None) => false,
    };

    let mut candidates = Vec::new();
    for n in (0..objects.len()).filter(|n| of_default(*n)) {
        let found = judge(&mut verdicts[n], &objects[n], &claims[n], lasts[n].as_ref(), |claim| {
            let set = claim.default_set()?;
            Ok((Claim::spell_default(&set), set))
        });
        candidates.extend(found.map(|(policy, in_force)| Candidate { object: n, policy, priority: 0, in_force }));
    }
    candidates.sort_by_key(|candidate| age(&objects[candidate.object]));
    let mut compiled = Compiled::default();
    for candidate in candidates {
        match compiled.default {
            Some(first) => lose(&mut verdicts[candidate.object], &objects[first]),
            None => {
                compiled.default = Some(candidate.object);
                verdicts[candidate.object].in_force = Some(candidate.in_force);
                compiled.set = candidate.policy;
            }
        }
    }

    let mut candidates: Vec<Candidate<Rule>> = Vec::new();
    for n in (0..objects.len()).filter(|n| !of_default(*n)) {
        let found = judge(&mut verdicts[n], &objects[n], &claims[n], lasts[n].as_ref(), |claim| {
            let rule = claim.rule(&compiled.set.default)?;
            Ok((Claim::spell_rule(&rule, priority(claim)), (rule, priority(claim))))
        });
        candidates.extend(found.map(|((policy, priority), in_force)| Candidate { object: n, policy, priority, in_force }));
    }
    candidates.sort_by_key(|candidate| age(&objects[candidate.object]));
    let mut won: Vec<Candidate<Rule>> = Vec::with_capacity(candidates.len());
    let mut taken: HashMap<(String, String, i32), usize> = HashMap::new();
    for candidate in candidates {
        let claimed = (candidate.policy.domain.clone(), candidate.policy.user.clone(), candidate.priority);
        match taken.get(&claimed) {
            Some(first) => lose(&mut verdicts[candidate.object], &objects[*first]),
            None => {
                taken.insert(claimed, candidate.object);
                won.push(candidate);
            }
        }
    }
    won.sort_by(|a, b| order(a, objects).cmp(&order(b, objects)));
    for Candidate { object, policy, in_force, .. } in won {
        verdicts[object].in_force = Some(in_force);
        compiled.rules.push(object);
        compiled.set.rules.push(policy);
    }
    compiled.verdicts = verdicts;
    compiled
}

/// What the object was when it was last in force.
fn last_good(object: &Object, known: &Known) -> Option<(InForce, Claim)> {
    let last = known.get(&object.uid).or(object.status.in_force.as_ref())?;
    let claim = Claim::read(&Value::Object(last.spec.clone())).ok()?;
    Some((last.clone(), claim))
}

/// The object as it is now, or else as it was last; says in the verdict what is wrong now.
fn judge<T>(
    verdict: &mut Verdict,
    object: &Object,
    claim: &Result<Claim, Vec<PolicyError>>,
    last: Option<&(InForce, Claim)>,
    read: impl Fn(&Claim) -> Result<(serde_json::Map<String, Value>, T), Vec<PolicyError>>,
) -> Option<(T, InForce)> {
    match claim.as_ref().map_err(Clone::clone).and_then(&read) {
        Ok((spec, policy)) => Some((policy, InForce { generation: object.generation, spec })),
        Err(errors) => {
            verdict.accepted = Accepted::Invalid(errors);
            let (in_force, last) = last?;
            // A default policy that became one for selected callees, or the other way round, starts anew.
            let same_kind = claim.as_ref().map_or(true, |now| (now.scope == Scope::Default) == (last.scope == Scope::Default));
            let (_, policy) = read(last).ok().filter(|_| same_kind)?;
            Some((policy, in_force.clone()))
        }
    }
}

fn lose(verdict: &mut Verdict, winner: &Object) {
    // What is wrong is said first.
    if verdict.accepted == Accepted::Yes {
        verdict.accepted = Accepted::Conflict(winner.name.clone());
    }
}

fn priority(claim: &Claim) -> i32 {
    match claim.scope {
        Scope::Default => 0,
        Scope::Selected { priority } => priority,
    }
}

fn age(object: &Object) -> (i64, &str) {
    (object.created, &object.name)
}

/// Rules that sort lower are tried first.
fn order<'a>(candidate: &'a Candidate<Rule>, objects: &'a [Object]) -> impl Ord + use<'a> {
    let Rule { domain, user, .. } = &candidate.policy;
    (Reverse(candidate.priority), domain == "*", user.contains('*'), Reverse(user.len()), &objects[candidate.object].name)
}
