//! What is known of the dimension names of a model: the `where` clause.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Facts about one name. `modulus >= 1`, `0 <= remainder < modulus`, and some value fits all facts of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SymFacts {
    /// The value is `remainder` modulo `modulus`. Modulus 1 says nothing.
    pub modulus: i64,
    pub remainder: i64,
    /// Least value, at least 1 unless a model says otherwise.
    pub min: i64,
    /// Greatest value.
    pub max: Option<i64>,
}

impl Default for SymFacts {
    fn default() -> SymFacts {
        SymFacts { modulus: 1, remainder: 0, min: 1, max: None }
    }
}

/// Facts about all names of a model. Names without an entry have the default: an integer of at least 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DimFacts {
    pub symbols: BTreeMap<Arc<str>, SymFacts>,
}

impl DimFacts {
    /// The facts about `name`.
    pub fn get(&self, name: &str) -> SymFacts {
        self.symbols.get(name).cloned().unwrap_or_default()
    }

    /// The entry of `name`, made if absent.
    pub fn entry(&mut self, name: &str) -> &mut SymFacts {
        self.symbols.entry(name.into()).or_default()
    }

    /// Says why `value` is no legal value of `name`, or nothing if it is one.
    pub fn violation(&self, name: &str, value: i64) -> Option<String> {
        let facts = self.get(name);
        if value < facts.min {
            return Some(format!("{name} = {value}, but {name} must be at least {}", facts.min));
        }
        if let Some(max) = facts.max.filter(|max| value > *max) {
            return Some(format!("{name} = {value}, but {name} must be at most {max}"));
        }
        if value.rem_euclid(facts.modulus) != facts.remainder {
            let (m, r) = (facts.modulus, facts.remainder);
            let down = value - (value - r).rem_euclid(m);
            let near =
                if down >= facts.min { format!("{down} or {}", down + m) } else { format!("{}", down + m) };
            return Some(format!(
                "{name} = {value}, but {name} % {m} == {r} is required (the nearest such sizes: {near})"
            ));
        }
        None
    }
}
