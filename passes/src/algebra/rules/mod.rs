//! The rules, by topic. Each topic is a table; each row names the rule, the operations it starts from, and how close
//! both sides are (see [`Holds`]).

mod affine;
mod chains;
mod functions;
mod identity;
mod layout;
mod pads;
mod recover;
mod slopes;

use super::rule::{Cx, Found, Holds, Rule};
use super::term::Term;

/// Every rule, topic by topic.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    [
        identity::RULES,
        slopes::RULES,
        recover::RULES,
        functions::RULES,
        chains::RULES,
        affine::RULES,
        pads::RULES,
        layout::RULES,
    ]
    .into_iter()
    .flatten()
}

const fn rule(
    name: &'static str,
    on: &'static [&'static str],
    holds: Holds,
    find: fn(&Cx<'_>, &Term, &mut Found),
) -> Rule {
    Rule { name, on, holds, find }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rectify_ir::op::table;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_roots_exist() {
        let names: BTreeSet<_> = all().map(|r| r.name).collect();
        assert_eq!(names.len(), all().count());
        for rule in all() {
            for tag in rule.on {
                assert!(
                    *tag == "proj" || table::find(tag).is_some(),
                    "{}: there is no operation {tag}",
                    rule.name
                );
            }
        }
    }
}
