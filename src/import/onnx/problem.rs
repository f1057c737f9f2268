//! What is wrong with a model or not supported: all of it at once, each with its place and a remedy.

use rectify_ir::TensorType;
use rectify_ir::dim::DimError;
use rectify_ir::shape::ShapeError;
use std::fmt;

/// What sort of problem it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    UnsupportedOp,
    UnsupportedAttribute,
    UnsupportedType,
    UnsupportedOpset,
    /// The operation is supported, but not this use of it.
    UnsupportedForm,
    /// The model breaks the rules of ONNX.
    Malformed,
    /// Shapes do not fit.
    Shape,
    /// Shapes or attributes depend on the values of these inputs. With the values the import may succeed.
    NeedsValue(Vec<String>),
}

impl ProblemKind {
    /// What to do about problems of this sort where nothing better is known.
    fn remedy(&self) -> Option<&'static str> {
        match self {
            ProblemKind::UnsupportedType => Some(
                "convert the tensor to f32; supported are floats of 16 bits and more, integers of 8 to 64 bits and bool",
            ),
            ProblemKind::UnsupportedAttribute | ProblemKind::UnsupportedForm => {
                Some("export the model without it, or cut it before this node")
            }
            ProblemKind::Malformed => Some("check the file with onnx.checker, and export it anew"),
            // These say what is needed, or what does not fit.
            ProblemKind::UnsupportedOp
            | ProblemKind::UnsupportedOpset
            | ProblemKind::Shape
            | ProblemKind::NeedsValue(_) => None,
        }
    }
}

/// One problem of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: ProblemKind,
    /// The node's name, or its first output's where it has none.
    pub node: Option<String>,
    /// The operation, with its domain if that is not ONNX's own.
    pub op: Option<String>,
    /// Names and, where known, types of the node's inputs.
    pub inputs: Vec<(String, Option<TensorType>)>,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            write!(f, "node `{node}`")?;
            if let Some(op) = &self.op {
                write!(f, " ({op})")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        for (i, (name, ty)) in self.inputs.iter().enumerate() {
            f.write_str(if i == 0 { "; inputs: " } else { ", " })?;
            match ty {
                Some(ty) => write!(f, "{name} {ty}")?,
                None => write!(f, "{name} (unknown)")?,
            }
        }
        match &self.help {
            Some(help) => write!(f, "; help: {help}"),
            None => Ok(()),
        }
    }
}

/// All problems of a model; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The problems, each with a remedy.
    pub(super) fn told(mut list: Vec<Problem>) -> Problems {
        for problem in &mut list {
            problem.help = problem.help.take().or_else(|| problem.kind.remedy().map(str::to_owned));
        }
        Problems(list)
    }

    /// The inputs whose values are missing, if that is all that is missing.
    pub fn needed_values(&self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for p in &self.0 {
            match &p.kind {
                ProblemKind::NeedsValue(inputs) => names.extend(inputs.iter().cloned()),
                _ => return None,
            }
        }
        names.sort();
        names.dedup();
        Some(names)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, p) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{p}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Why one node was not lowered.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// An input comes from a node that has a problem already.
    Poisoned,
    Problem {
        kind: ProblemKind,
        message: String,
        help: Option<String>,
    },
}

impl Refusal {
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Refusal {
        Refusal::Problem { kind, message: message.into(), help: None }
    }

    pub fn malformed(message: impl Into<String>) -> Refusal {
        Refusal::new(ProblemKind::Malformed, message)
    }

    /// A use of the operation that is not supported.
    pub fn form(message: impl Into<String>) -> Refusal {
        Refusal::new(ProblemKind::UnsupportedForm, message)
    }

    pub fn attribute(message: impl Into<String>) -> Refusal {
        Refusal::new(ProblemKind::UnsupportedAttribute, message)
    }

    pub fn help(self, text: impl Into<String>) -> Refusal {
        match self {
            Refusal::Poisoned => Refusal::Poisoned,
            Refusal::Problem { kind, message, .. } => {
                Refusal::Problem { kind, message, help: Some(text.into()) }
            }
        }
    }
}

impl From<ShapeError> for Refusal {
    fn from(e: ShapeError) -> Refusal {
        Refusal::Problem { kind: ProblemKind::Shape, message: e.message, help: e.help }
    }
}

impl From<DimError> for Refusal {
    fn from(e: DimError) -> Refusal {
        Refusal::new(ProblemKind::Shape, e.to_string())
    }
}
