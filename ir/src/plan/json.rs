//! Plans as JSON, with a version.

use super::Plan;
use serde::{Deserialize, Serialize};

/// Version of the JSON form; other versions are refused.
pub const VERSION: u32 = 1;

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("not a plan: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("a plan of version {found}; this program reads version {VERSION}")]
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
