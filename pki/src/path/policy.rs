//! Certificate policies: the policy graph of RFC 9618, one level at a time.
//!
//! The tree of RFC 5280 §6.1 grows exponentially; the graph of
//! <https://www.rfc-editor.org/rfc/rfc9618#section-5> has one node per policy and level. Of the graph
//! only two questions are ever asked: which policies does the deepest level hold, and does one of them
//! descend from a policy that the user asked for. Both can be answered while going down, so
//! earlier levels are not kept: memory is linear in the certificate at hand, and so is the work.
//! Policy qualifiers are not looked at: they change no outcome.

use std::collections::{BTreeMap, BTreeSet};

use crate::oid::{ANY_POLICY, Oid};

use super::budget::{Budget, Spent};
use super::rules::PathRules;

/// A policy valid at the current level.
#[derive(Debug)]
struct Node<'a> {
    /// expected_policy_set; `None` is the policy itself.
    expected: Option<BTreeSet<Oid<'a>>>,
    /// Whether it descends from a policy of the user-initial-policy-set.
    wanted: bool,
}

/// The policy state variables of RFC 5280 §6.1.2.
pub(super) struct Policies<'a> {
    /// The deepest level of the graph; empty is a NULL graph.
    level: BTreeMap<Oid<'a>, Node<'a>>,
    initial: Option<BTreeSet<Oid<'a>>>,
    explicit: usize,
    mapping: usize,
    any: usize,
}

/// Why the policies do not permit the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyFault {
    /// No valid policy is left where one is required.
    NoValidPolicy,
    /// A mapping from or to anyPolicy.
    MappedAny,
    /// The work limit.
    Spent(Spent),
}

impl From<Spent> for PolicyFault {
    fn from(spent: Spent) -> Self {
        Self::Spent(spent)
    }
}

impl<'a> Policies<'a> {
    /// The state before the first of `length` certificates.
    pub(super) fn new(rules: &'a PathRules, length: usize) -> Self {
        let skip = |now: bool| if now { 0 } else { length.saturating_add(1) };
        let initial: BTreeSet<_> = rules.initial_policies.iter().map(|p| p.as_oid()).collect();
        let any = initial.is_empty() || initial.contains(&ANY_POLICY);
        Self {
            level: BTreeMap::from([(
                ANY_POLICY,
                Node {
                    expected: None,
                    wanted: any,
                },
            )]),
            initial: (!any).then_some(initial),
            explicit: skip(rules.require_explicit_policy),
            mapping: skip(rules.inhibit_policy_mapping),
            any: skip(rules.inhibit_any_policy),
        }
    }

    /// RFC 5280 §6.1.3 (d) to (f) in the form of RFC 9618: the policies of one certificate.
    /// `any_allowed` is true for a self-issued certificate that is not the last.
    pub(super) fn enter(
        &mut self,
        policies: Option<impl Iterator<Item = Oid<'a>>>,
        any_allowed: bool,
        budget: &mut Budget,
    ) -> Result<(), PolicyFault> {
        let parents = std::mem::take(&mut self.level);
        let Some(policies) = policies.filter(|_| !parents.is_empty()) else {
            return self.not_null();
        };
        // expected_policy_set turned round: which policies may come next, and whether wanted.
        let mut expected: BTreeMap<Oid<'a>, bool> = BTreeMap::new();
        for (policy, node) in &parents {
            match &node.expected {
                None => *expected.entry(*policy).or_default() |= node.wanted,
                Some(set) => {
                    for policy in set {
                        budget.step()?;
                        *expected.entry(*policy).or_default() |= node.wanted;
                    }
                }
            }
        }
        let below_any = expected.contains_key(&ANY_POLICY);
        let mut any = false;
        for policy in policies {
            budget.step()?;
            if policy == ANY_POLICY {
                any = true;
            } else if let Some(wanted) = expected.get(&policy) {
                self.level.insert(
                    policy,
                    Node {
                        expected: None,
                        wanted: *wanted,
                    },
                );
            } else if below_any {
                let wanted = self.is_initial(policy);
                self.level.insert(
                    policy,
                    Node {
                        expected: None,
                        wanted,
                    },
                );
            }
        }
        if any && (self.any > 0 || any_allowed) {
            for (policy, wanted) in expected {
                budget.step()?;
                self.level.entry(policy).or_insert(Node {
                    expected: None,
                    wanted,
                });
            }
        }
        self.not_null()
    }

    /// §6.1.4 (a) and (b): the policy mappings of a certificate that is not the last.
    pub(super) fn map(
        &mut self,
        mappings: impl Iterator<Item = (Oid<'a>, Oid<'a>)>,
        budget: &mut Budget,
    ) -> Result<(), PolicyFault> {
        let mut by_issuer: BTreeMap<Oid<'a>, BTreeSet<Oid<'a>>> = BTreeMap::new();
        for (issuer, subject) in mappings {
            budget.step()?;
            if issuer == ANY_POLICY || subject == ANY_POLICY {
                return Err(PolicyFault::MappedAny);
            }
            by_issuer.entry(issuer).or_default().insert(subject);
        }
        let below_any = self.level.contains_key(&ANY_POLICY);
        for (issuer, subjects) in by_issuer {
            if self.mapping == 0 {
                self.level.remove(&issuer);
            } else if let Some(node) = self.level.get_mut(&issuer) {
                node.expected = Some(subjects);
            } else if below_any {
                let wanted = self.is_initial(issuer);
                self.level.insert(
                    issuer,
                    Node {
                        expected: Some(subjects),
                        wanted,
                    },
                );
            }
        }
        Ok(())
    }

    /// §6.1.4 (h) to (j): the counters, after a certificate that is not the last.
    pub(super) fn count(
        &mut self,
        self_issued: bool,
        require_explicit: Option<u32>,
        inhibit_mapping: Option<u32>,
        inhibit_any: Option<u32>,
    ) {
        if !self_issued {
            self.explicit = self.explicit.saturating_sub(1);
            self.mapping = self.mapping.saturating_sub(1);
            self.any = self.any.saturating_sub(1);
        }
        lower(&mut self.explicit, require_explicit);
        lower(&mut self.mapping, inhibit_mapping);
        lower(&mut self.any, inhibit_any);
    }

    /// §6.1.5 (a), (b) and (g): the end, after the last certificate.
    pub(super) fn finish(mut self, require_explicit: Option<u32>) -> Result<(), PolicyFault> {
        self.explicit = self.explicit.saturating_sub(1);
        if require_explicit == Some(0) {
            self.explicit = 0;
        }
        // An anyPolicy node at the end stands for every policy that the user asked for.
        let wanted = self
            .level
            .iter()
            .any(|(policy, node)| *policy == ANY_POLICY || node.wanted);
        if self.explicit > 0 || wanted {
            Ok(())
        } else {
            Err(PolicyFault::NoValidPolicy)
        }
    }

    fn not_null(&self) -> Result<(), PolicyFault> {
        if self.explicit > 0 || !self.level.is_empty() {
            Ok(())
        } else {
            Err(PolicyFault::NoValidPolicy)
        }
    }

    fn is_initial(&self, policy: Oid<'a>) -> bool {
        self.initial
            .as_ref()
            .is_none_or(|set| set.contains(&policy))
    }
}

fn lower(counter: &mut usize, to: Option<u32>) {
    if let Some(to) = to {
        *counter = (*counter).min(usize::try_from(to).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oid::OidBuf;
    use crate::time::UnixTime;

    fn oid(n: u32) -> OidBuf {
        OidBuf::from_dotted(&format!("2.16.840.1.99999.{n}")).unwrap()
    }

    fn rules(initial: &[&OidBuf]) -> PathRules {
        PathRules {
            initial_policies: initial.iter().map(|p| (*p).clone()).collect(),
            require_explicit_policy: true,
            ..PathRules::new(UnixTime(0))
        }
    }

    #[test]
    fn a_policy_mapped_twice_is_still_the_policy_asked_for() {
        let (a, b, c) = (oid(1), oid(2), oid(3));
        for (asked, expect) in [(&a, true), (&b, false), (&c, false)] {
            let rules = rules(&[asked]);
            let mut budget = Budget::DEFAULT;
            let mut p = Policies::new(&rules, 3);
            p.enter(Some([a.as_oid()].into_iter()), false, &mut budget)
                .unwrap();
            p.map([(a.as_oid(), b.as_oid())].into_iter(), &mut budget)
                .unwrap();
            p.count(false, None, None, None);
            p.enter(Some([b.as_oid()].into_iter()), false, &mut budget)
                .unwrap();
            p.map([(b.as_oid(), c.as_oid())].into_iter(), &mut budget)
                .unwrap();
            p.count(false, None, None, None);
            p.enter(Some([c.as_oid()].into_iter()), false, &mut budget)
                .unwrap();
            assert_eq!(p.finish(None).is_ok(), expect, "{asked}");
        }
    }

    #[test]
    fn without_policies_the_graph_is_null_and_only_an_explicit_policy_minds() {
        let mut rules = rules(&[]);
        let mut budget = Budget::DEFAULT;
        let none = || None::<std::iter::Empty<Oid<'_>>>;
        let mut p = Policies::new(&rules, 1);
        assert_eq!(
            p.enter(none(), false, &mut budget),
            Err(PolicyFault::NoValidPolicy)
        );
        rules.require_explicit_policy = false;
        let mut p = Policies::new(&rules, 1);
        assert_eq!(p.enter(none(), false, &mut budget), Ok(()));
        assert_eq!(p.finish(None), Ok(()));
        let mut p = Policies::new(&rules, 1);
        p.enter(none(), false, &mut budget).unwrap();
        assert_eq!(p.finish(Some(0)), Err(PolicyFault::NoValidPolicy));
    }

    #[test]
    fn any_policy_counts_until_it_is_inhibited() {
        let a = oid(1);
        let rules = rules(&[&a]);
        let mut budget = Budget::DEFAULT;
        for (inhibit, expect) in [(None, true), (Some(0), false), (Some(1), true)] {
            let mut p = Policies::new(&rules, 2);
            p.enter(Some([ANY_POLICY].into_iter()), false, &mut budget)
                .unwrap();
            p.count(false, None, None, inhibit);
            let end = p.enter(Some([ANY_POLICY].into_iter()), false, &mut budget);
            assert_eq!(
                end.and_then(|()| p.finish(None)).is_ok(),
                expect,
                "{inhibit:?}"
            );
        }
    }

    #[test]
    fn mapping_any_policy_is_refused() {
        let a = oid(1);
        let rules = rules(&[]);
        let mut budget = Budget::DEFAULT;
        for pair in [(ANY_POLICY, a.as_oid()), (a.as_oid(), ANY_POLICY)] {
            let mut p = Policies::new(&rules, 2);
            p.enter(Some([ANY_POLICY].into_iter()), false, &mut budget)
                .unwrap();
            assert_eq!(
                p.map([pair].into_iter(), &mut budget),
                Err(PolicyFault::MappedAny)
            );
        }
    }

    /// BOMB-06, CVE-2023-0464: every policy mapped to every policy at every level.
    #[test]
    fn the_policy_explosion_stays_linear() {
        let all: Vec<OidBuf> = (0..60).map(oid).collect();
        let rules = rules(&[&all[0]]);
        let mut budget = Budget::DEFAULT;
        let mut p = Policies::new(&rules, 10);
        for _ in 0..9 {
            p.enter(Some(all.iter().map(OidBuf::as_oid)), false, &mut budget)
                .unwrap();
            let pairs = all
                .iter()
                .flat_map(|a| all.iter().map(|b| (a.as_oid(), b.as_oid())));
            p.map(pairs, &mut budget).unwrap();
            p.count(false, None, None, None);
        }
        p.enter(Some(all.iter().map(OidBuf::as_oid)), false, &mut budget)
            .unwrap();
        assert_eq!(p.finish(None), Ok(()));
        let used = Budget::DEFAULT.steps - budget.steps;
        assert!(used < 9 * (2 * 3600 + 120), "{used}");
    }
}
