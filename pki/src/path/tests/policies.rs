//! The policy graph against the tree of RFC 5280 §6.1, written down naively: on small inputs both
//! must say the same.

use proptest::prelude::*;

use super::super::policy::Policies;
use super::*;

/// Policy numbers; 0 is anyPolicy.
type Policy = u8;

/// The policy extensions of one certificate.
#[derive(Clone, Debug)]
struct Level {
    policies: Option<Vec<Policy>>,
    mappings: Vec<(Policy, Policy)>,
    self_issued: bool,
    require_explicit: Option<u32>,
    inhibit_mapping: Option<u32>,
    inhibit_any: Option<u32>,
}

#[derive(Clone, Debug)]
struct Inputs {
    initial: Vec<Policy>,
    explicit: bool,
    no_mapping: bool,
    no_any: bool,
    levels: Vec<Level>,
}

/// A node of the valid_policy_tree.
#[derive(Clone, Debug)]
struct Node {
    depth: usize,
    policy: Policy,
    expected: Vec<Policy>,
    parent: Option<usize>,
    alive: bool,
}

struct Tree(Vec<Node>);

impl Tree {
    fn at(&self, depth: usize) -> Vec<usize> {
        (0..self.0.len())
            .filter(|n| self.0[*n].alive && self.0[*n].depth == depth)
            .collect()
    }

    fn add(&mut self, parent: usize, policy: Policy, expected: Vec<Policy>) {
        let depth = self.0[parent].depth + 1;
        self.0.push(Node {
            depth,
            policy,
            expected,
            parent: Some(parent),
            alive: true,
        });
    }

    /// Deletes nodes of depths below `depth` that have no children, until none is left.
    fn prune(&mut self, depth: usize) {
        for level in (0..depth).rev() {
            for node in self.at(level) {
                let child = self.0.iter().any(|n| n.alive && n.parent == Some(node));
                self.0[node].alive = child;
            }
        }
    }
}

/// RFC 5280 §6.1.2 to §6.1.5, policies only, step by step as written there.
fn by_tree(inputs: &Inputs) -> bool {
    let n = inputs.levels.len();
    let skip = |now: bool| if now { 0 } else { n + 1 };
    let (mut explicit, mut mapping, mut any) = (
        skip(inputs.explicit),
        skip(inputs.no_mapping),
        skip(inputs.no_any),
    );
    let root = Node {
        depth: 0,
        policy: 0,
        expected: vec![0],
        parent: None,
        alive: true,
    };
    let mut tree = Tree(vec![root]);
    for (i, level) in inputs
        .levels
        .iter()
        .enumerate()
        .map(|(i, level)| (i + 1, level))
    {
        match &level.policies {
            None => tree.0.clear(),
            Some(policies) => {
                for policy in policies.iter().copied().filter(|p| *p != 0) {
                    let mut matched = false;
                    for parent in tree.at(i - 1) {
                        if tree.0[parent].expected.contains(&policy) {
                            tree.add(parent, policy, vec![policy]);
                            matched = true;
                        }
                    }
                    let any = tree.at(i - 1).into_iter().find(|p| tree.0[*p].policy == 0);
                    if let (false, Some(parent)) = (matched, any) {
                        tree.add(parent, policy, vec![policy]);
                    }
                }
                if policies.contains(&0) && (any > 0 || i < n && level.self_issued) {
                    for parent in tree.at(i - 1) {
                        for policy in tree.0[parent].expected.clone() {
                            let children = tree.0.iter().filter(|c| c.parent == Some(parent));
                            if !children.clone().any(|c| c.policy == policy) {
                                tree.add(parent, policy, vec![policy]);
                            }
                        }
                    }
                }
                tree.prune(i);
            }
        }
        if explicit == 0 && tree.at(i).is_empty() {
            return false;
        }
        if i == n {
            break;
        }
        let mut issuers: Vec<Policy> = level.mappings.iter().map(|m| m.0).collect();
        issuers.sort_unstable();
        issuers.dedup();
        for issuer in issuers {
            let subjects: Vec<Policy> = level
                .mappings
                .iter()
                .filter(|m| m.0 == issuer)
                .map(|m| m.1)
                .collect();
            let same: Vec<usize> = tree
                .at(i)
                .into_iter()
                .filter(|p| tree.0[*p].policy == issuer)
                .collect();
            if mapping == 0 {
                same.into_iter().for_each(|node| tree.0[node].alive = false);
                tree.prune(i);
            } else if same.is_empty() {
                let any = tree.at(i).into_iter().find(|p| tree.0[*p].policy == 0);
                if let Some(parent) = any.and_then(|any| tree.0[any].parent) {
                    tree.add(parent, issuer, subjects);
                }
            } else {
                same.into_iter()
                    .for_each(|node| tree.0[node].expected = subjects.clone());
            }
        }
        if !level.self_issued {
            explicit = explicit.saturating_sub(1);
            mapping = mapping.saturating_sub(1);
            any = any.saturating_sub(1);
        }
        let lower = |counter: &mut usize, to: Option<u32>| {
            *counter = (*counter).min(to.map_or(usize::MAX, |to| to.try_into().unwrap()));
        };
        lower(&mut explicit, level.require_explicit);
        lower(&mut mapping, level.inhibit_mapping);
        lower(&mut any, level.inhibit_any);
    }
    explicit = explicit.saturating_sub(1);
    if inputs.levels[n - 1].require_explicit == Some(0) {
        explicit = 0;
    }
    // §6.1.5 (g) (iii): the intersection with what the user asked for.
    let leaves = tree.at(n);
    let intersection = if inputs.initial.is_empty() {
        !leaves.is_empty()
    } else {
        leaves.iter().any(|leaf| {
            // The node whose parent is anyPolicy, going up; an anyPolicy leaf stands for all.
            let mut node = *leaf;
            loop {
                let Some(parent) = tree.0[node].parent else {
                    break true;
                };
                if tree.0[node].policy == 0 {
                    break true;
                }
                if tree.0[parent].policy == 0 {
                    break inputs.initial.contains(&tree.0[node].policy);
                }
                node = parent;
            }
        })
    };
    explicit > 0 || intersection
}

fn by_graph(inputs: &Inputs) -> bool {
    let oids: Vec<OidBuf> = (0..8)
        .map(|n| OidBuf::from_dotted(&format!("1.2.3.{n}")).unwrap())
        .collect();
    let oid = |policy: Policy| match policy {
        0 => oid::ANY_POLICY,
        n => oids[usize::from(n)].as_oid(),
    };
    let rules = PathRules {
        initial_policies: inputs.initial.iter().map(|p| oid(*p).to_buf()).collect(),
        require_explicit_policy: inputs.explicit,
        inhibit_policy_mapping: inputs.no_mapping,
        inhibit_any_policy: inputs.no_any,
        ..off()
    };
    let mut budget = Budget::default();
    let n = inputs.levels.len();
    let mut state = Policies::new(&rules, n);
    for (i, level) in inputs.levels.iter().enumerate() {
        let last = i + 1 == n;
        let policies = level.policies.as_ref().map(|p| p.iter().map(|p| oid(*p)));
        if state
            .enter(policies, level.self_issued && !last, &mut budget)
            .is_err()
        {
            return false;
        }
        if last {
            return state.finish(level.require_explicit).is_ok();
        }
        let mappings = level.mappings.iter().map(|m| (oid(m.0), oid(m.1)));
        state.map(mappings, &mut budget).unwrap();
        state.count(
            level.self_issued,
            level.require_explicit,
            level.inhibit_mapping,
            level.inhibit_any,
        );
    }
    unreachable!("there is a last certificate")
}

fn level() -> impl Strategy<Value = Level> {
    let policies = proptest::option::weighted(0.9, proptest::collection::vec(0..5_u8, 0..4));
    let mappings = proptest::collection::vec((1..5_u8, 1..5_u8), 0..4);
    let skip = || proptest::option::weighted(0.2, 0..3_u32);
    let rest = (proptest::bool::weighted(0.3), skip(), skip(), skip());
    (policies, mappings, rest).prop_map(|(policies, mappings, rest)| {
        let (self_issued, require_explicit, inhibit_mapping, inhibit_any) = rest;
        let policies = policies.map(|mut p| {
            p.sort_unstable();
            p.dedup();
            p
        });
        Level {
            policies,
            mappings,
            self_issued,
            require_explicit,
            inhibit_mapping,
            inhibit_any,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_graph_says_what_the_tree_says(
        initial in proptest::collection::vec(1..5_u8, 0..3),
        explicit: bool,
        no_mapping in proptest::bool::weighted(0.2),
        no_any in proptest::bool::weighted(0.2),
        levels in proptest::collection::vec(level(), 1..6),
    ) {
        let inputs = Inputs { initial, explicit, no_mapping, no_any, levels };
        prop_assert_eq!(by_graph(&inputs), by_tree(&inputs));
    }
}

#[test]
fn policies_are_inputs() {
    let wanted = OidBuf::from_dotted("1.2.392.200149.8.5.1").unwrap();
    let other = OidBuf::from_dotted("1.2.3.4").unwrap();
    let root = Party::root("Root");
    let ca = root.ca("CA", |b| b.policies(&[wanted.as_oid()]));
    let leaf = ca.leaf("Alice", |b| person(b).policies(&[wanted.as_oid()]));
    let asking = |policy: &OidBuf| PathRules {
        initial_policies: vec![policy.clone()],
        require_explicit_policy: true,
        ..off()
    };
    find(&leaf, &[&ca], &root, &asking(&wanted)).unwrap();
    let end = find(&leaf, &[&ca], &root, &asking(&other));
    fails(end, PathErrorKind::Invalid, "policy");
    let strict = PolicyConstraints {
        require_explicit_policy: Some(0),
        ..Default::default()
    };
    let ca = root.ca("CA", |b| {
        b.policies(&[wanted.as_oid()]).policy_constraints(strict)
    });
    let leaf = ca.leaf("Alice", |b| person(b).policies(&[other.as_oid()]));
    fails(
        find(&leaf, &[&ca], &root, &off()),
        PathErrorKind::Invalid,
        "policy",
    );
}
