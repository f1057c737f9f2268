//! Versions of the operator sets that a model imports.

use super::problem::{Problem, ProblemKind};
use super::proto::OperatorSetIdProto;
use std::collections::HashMap;

/// The oldest version that is read: the first with today's broadcasting.
pub const OLDEST: i64 = 7;

/// The newest version whose specification this importer was written from.
pub const NEWEST: i64 = 28;

/// Version of each imported domain.
#[derive(Clone, Debug, Default)]
pub struct Opsets {
    versions: HashMap<String, i64>,
}

/// ONNX's own domain has two names.
pub fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

impl Opsets {
    /// Reads the imports of a model or function.
    pub fn read(imports: &[OperatorSetIdProto]) -> Result<Opsets, Box<Problem>> {
        let mut versions = HashMap::new();
        for import in imports {
            versions.insert(domain(&import.domain).to_string(), import.version);
        }
        let opsets = Opsets { versions };
        match opsets.onnx() {
            OLDEST..=NEWEST => Ok(opsets),
            0 if !opsets.versions.contains_key("") => {
                // A model of other domains' operators alone. Each of them is a problem of its own.
                Ok(opsets)
            }
            v => Err(Box::new(Problem {
                kind: ProblemKind::UnsupportedOpset,
                node: None,
                op: None,
                inputs: vec![],
                message: format!("the model uses operator set {v}; supported are {OLDEST} to {NEWEST}"),
                help: Some(if v < OLDEST {
                    "convert it with onnx.version_converter, or export it anew".into()
                } else {
                    format!("export it with operator set {NEWEST} or older")
                }),
            })),
        }
    }

    /// The version of ONNX's own operators; 0 if they are not imported.
    pub fn onnx(&self) -> i64 {
        self.versions.get("").copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(domain: &str, version: i64) -> OperatorSetIdProto {
        OperatorSetIdProto { domain: domain.into(), version }
    }

    #[test]
    fn versions_of_domains() {
        let sets = Opsets::read(&[import("com.microsoft", 1), import("ai.onnx", 13)]).unwrap();
        assert_eq!(sets.onnx(), 13);
        assert!(Opsets::read(&[import("", 6)]).unwrap_err().to_string().contains("7 to 28"));
        assert!(Opsets::read(&[import("", i64::MAX)]).is_err());
    }
}
