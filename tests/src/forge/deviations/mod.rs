//! What may be odd or wrong about a signed mail and its chain, each alone and mixed by dice: the same seed, the same
//! mails but for their keys.
//!
//! Left out is what RFCs leave to the reader and every other program refuses: a digestAlgorithms without the
//! signer's digest (RFC 5652 §5.1).

mod authorities;
mod leaf;
mod message;

use std::collections::BTreeSet;

use super::draft::{Draft, Roots};
use crate::oracles::{Judge, Trial};
use crate::world::Dice;

/// What a deviation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Odd and right.
    Fine,
    /// Wrong, or too weak, or not known to be good: to be refused.
    Fault,
    /// Odd and right, and alone in its mail: with others it comes down to which way somebody goes up first.
    Alone,
}

/// One thing that is not as in a plain mail.
pub struct Deviation {
    name: String,
    /// What it changes. Two that change the same do not meet in one mail.
    place: String,
    kind: Kind,
    /// Who cannot judge it.
    abstaining: Vec<Judge>,
    apply: Box<dyn Fn(&mut Draft)>,
}

impl Deviation {
    /// The word of this judge does not count: it refuses this for what it cannot do, or does not look at it.
    fn not_by(mut self, judge: Judge) -> Self {
        self.abstaining.push(judge);
        self
    }
}

fn fine(
    name: impl Into<String>,
    place: impl Into<String>,
    apply: impl Fn(&mut Draft) + 'static,
) -> Deviation {
    Deviation {
        name: name.into(),
        place: place.into(),
        kind: Kind::Fine,
        abstaining: Vec::new(),
        apply: Box::new(apply),
    }
}

fn fault(
    name: impl Into<String>,
    place: impl Into<String>,
    apply: impl Fn(&mut Draft) + 'static,
) -> Deviation {
    Deviation {
        kind: Kind::Fault,
        ..fine(name, place, apply)
    }
}

fn alone(
    name: impl Into<String>,
    place: impl Into<String>,
    apply: impl Fn(&mut Draft) + 'static,
) -> Deviation {
    Deviation {
        kind: Kind::Alone,
        ..fine(name, place, apply)
    }
}

/// The table: the person's certificate and its list, the authorities above, the message.
pub fn table() -> Vec<Deviation> {
    let mut all = leaf::all();
    all.extend(authorities::all());
    all.extend(message::all());
    all
}

/// Every mail below these roots: the plain one, each deviation alone, mixtures of two and three.
pub fn trials(roots: &mut Roots) -> Vec<Trial> {
    let table = table();
    let mut trials: Vec<Trial> = plans(&table)
        .iter()
        .enumerate()
        .map(|(number, plan)| {
            let chosen: Vec<&Deviation> = plan.iter().map(|one| &table[*one]).collect();
            trial(&chosen, roots, number)
        })
        .collect();
    let lists = roots.lists();
    for trial in &mut trials {
        trial.lists.extend(lists.iter().cloned());
    }
    trials
}

fn trial(chosen: &[&Deviation], roots: &mut Roots, number: usize) -> Trial {
    let mut draft = Draft::default();
    for deviation in chosen {
        (deviation.apply)(&mut draft);
    }
    let made = draft.make(roots, number);
    let names: Vec<&str> = chosen.iter().map(|one| one.name.as_str()).collect();
    let abstaining = chosen.iter().flat_map(|one| &one.abstaining);
    Trial {
        name: if names.is_empty() {
            "plain".to_owned()
        } else {
            names.join(" + ")
        },
        mail: made.mail,
        cms: made.cms,
        content: made.content,
        lists: made.lists,
        from: Some(made.from),
        is_wrong: chosen.iter().any(|one| one.kind == Kind::Fault),
        abstaining: abstaining.copied().collect(),
    }
}

/// The deviations of each mail, by their places in the table.
fn plans(table: &[Deviation]) -> Vec<Vec<usize>> {
    let mut plans = vec![Vec::new()];
    plans.extend((0..table.len()).map(|one| vec![one]));
    let mut dice = Dice::new(SEED);
    let mut seen = BTreeSet::new();
    for (kinds, count) in MIXTURES {
        let wanted = plans.len() + count;
        while plans.len() < wanted {
            if let Some(plan) = mixture(&mut dice, table, kinds)
                && seen.insert(plan.clone())
            {
                plans.push(plan);
            }
        }
    }
    plans
}

/// Deviations of these kinds, unless they exclude each other or leave nobody who can judge.
fn mixture(dice: &mut Dice, table: &[Deviation], kinds: &[Kind]) -> Option<Vec<usize>> {
    let mut plan: Vec<usize> = Vec::new();
    for kind in kinds {
        let all: Vec<usize> = (0..table.len())
            .filter(|one| table[*one].kind == *kind)
            .collect();
        let one = all[dice.below(all.len() as u64) as usize];
        if plan
            .iter()
            .any(|other| table[*other].place == table[one].place)
        {
            return None;
        }
        plan.push(one);
    }
    let abstains = |judge| {
        plan.iter()
            .any(|one| table[*one].abstaining.contains(judge))
    };
    if Judge::ALL.iter().all(abstains) {
        return None;
    }
    // In the order of the table: what is changed later sees what was changed before.
    plan.sort_unstable();
    Some(plan)
}

const SEED: u64 = 0x0d15_ea5e;

/// Which mixtures, and how many of each.
const MIXTURES: &[(&[Kind], usize)] = &[
    (&[Kind::Fine, Kind::Fine], 30),
    (&[Kind::Fine, Kind::Fine, Kind::Fine], 30),
    (&[Kind::Fault, Kind::Fine], 30),
    (&[Kind::Fault, Kind::Fine, Kind::Fine], 25),
    (&[Kind::Fault, Kind::Fault], 25),
    (&[Kind::Fault, Kind::Fault, Kind::Fault], 10),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deviation_has_a_name_of_its_own_and_somebody_who_can_judge_it() {
        let table = table();
        let names: BTreeSet<&str> = table.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names.len(), table.len());
        for one in &table {
            assert!(one.abstaining.len() < Judge::ALL.len(), "{}", one.name);
        }
    }
}
