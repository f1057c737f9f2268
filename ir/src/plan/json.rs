//! Plans as JSON, with a version.

use super::Plan;
use serde::{Deserialize, Serialize};

/// Version of the JSON form; other versions are refused. The second has algorithms that were compared, Winograd steps
/// and packs, indirect addresses, and windows over runs of outputs.
pub const VERSION: u32 = 2;

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("not a plan: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("a plan of version {found}; this program reads version {VERSION}: make it anew from its model")]
    Version { found: u32 },
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    plan: &'a Plan,
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

impl Plan {
    /// One line of JSON.
    pub fn to_json(&self) -> Result<String, JsonError> {
        Ok(serde_json::to_string(&Written { version: VERSION, plan: self })?)
    }

    /// Reads what [`Plan::to_json`] writes. The plan is not verified.
    pub fn from_json(text: &str) -> Result<Plan, JsonError> {
        let Header { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(JsonError::Version { found: version });
        }
        Ok(serde_json::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_versions_are_refused() {
        for found in [0, VERSION - 1, VERSION + 1] {
            let text = format!("{{\"version\": {found}, \"model\": \"m\"}}");
            let said = Plan::from_json(&text).expect_err("another version").to_string();
            assert_eq!(
                said,
                format!(
                    "a plan of version {found}; this program reads version 2: make it anew from its model"
                )
            );
        }
        let said = Plan::from_json("{}").expect_err("no version").to_string();
        assert!(said.starts_with("not a plan: missing field `version`"), "{said}");
    }
}
