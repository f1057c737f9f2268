//! What can go wrong, whose fault it is, and where.

use crate::data::DataError;
use rectify_ir::bind::BindError;
use rectify_ir::diag::{Diagnostic, Diagnostics, Severity, SourceMap};
use rectify_runtime::weights::{LoadError, WeightsError};
use rectify_runtime::{TensorError, packs::ParamError};
use std::fmt;
use std::path::PathBuf;

/// An error of the library.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read at all.
    #[error("cannot read {}: {message}", path.display())]
    Read { path: PathBuf, message: String },
    /// The model's text is wrong; all its errors are listed, each with its place.
    #[error(transparent)]
    Model(Box<Report>),
    /// The bytes are no model in any form.
    #[error("{name}: {message}")]
    Format { name: String, message: String },
    /// The model is sound, but something in it cannot be compiled.
    #[error("{name}: {message}")]
    Unsupported { name: String, message: String },
    /// Sizes do not fit the model, or some are not known.
    #[error(transparent)]
    Sizes(#[from] BindError),
    /// Inputs or outputs of a call do not fit the model's.
    #[error("{message}")]
    Tensor { message: String },
    #[error(transparent)]
    Data(#[from] DataError),
    /// A weights file cannot be read.
    #[error(transparent)]
    Load(LoadError),
    /// A weights file does not hold what the model needs, or holds more.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Parameter(#[from] ParamError),
    /// A training run whose loss or values left all bounds.
    #[error("training stopped at step {step}: {message}")]
    Diverged { step: u64, message: String },
    /// An option that has no meaning here, or none yet.
    #[error("{message}")]
    Option { message: String, help: Option<String> },
    /// The system refused memory or threads.
    #[error("{message}")]
    System { message: String },
    /// A bug of Rectify.
    #[error("internal error in {stage}: {message}")]
    Internal { stage: &'static str, message: String },
}

/// Who has to mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The model, its weights or its inputs.
    Model,
    /// The call: an option or an argument.
    Usage,
    /// The machine has too little of something.
    System,
    /// Rectify.
    Bug,
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Read { .. }
            | Error::Model(_)
            | Error::Format { .. }
            | Error::Unsupported { .. }
            | Error::Tensor { .. }
            | Error::Data(_)
            | Error::Load(_)
            | Error::Weights(_)
            | Error::Parameter(_)
            | Error::Diverged { .. } => Fault::Model,
            Error::Sizes(BindError::Unbound { .. } | BindError::UnknownSymbol { .. }) => Fault::Usage,
            Error::Sizes(_) => Fault::Model,
            Error::Option { .. } => Fault::Usage,
            Error::System { .. } => Fault::System,
            Error::Internal { .. } => Fault::Bug,
        }
    }

    /// What to do about it, where that is known and not part of the message.
    pub fn help(&self) -> Option<&str> {
        match self {
            Error::Data(e) => e.help.as_deref(),
            Error::Option { help, .. } => help.as_deref(),
            Error::Load(LoadError::File { .. } | LoadError::Tensor { .. }) => Some(
                "weights are a safetensors, npz or npy file; if a copy or a download ended early, fetch it again",
            ),
            Error::Sizes(BindError::Rank { .. } | BindError::Size { .. }) => {
                Some("`rectify info MODEL` shows the shapes of the inputs, and which of their sizes may vary")
            }
            Error::Diverged { .. } => {
                Some("a lower rate, warm-up or gradient clipping may keep it within bounds")
            }
            Error::Read { .. }
            | Error::Model(_)
            | Error::Format { .. }
            | Error::Unsupported { .. }
            | Error::Sizes(_)
            | Error::Tensor { .. }
            | Error::Load(_)
            | Error::Weights(_)
            | Error::Parameter(_)
            | Error::System { .. }
            | Error::Internal { .. } => None,
        }
    }

    pub(crate) fn internal(stage: &'static str, error: impl fmt::Display) -> Error {
        Error::Internal { stage, message: error.to_string() }
    }

    pub(crate) fn option(message: impl Into<String>) -> Error {
        Error::Option { message: message.into(), help: None }
    }

    pub(crate) fn tensor(message: impl Into<String>) -> Error {
        Error::Tensor { message: message.into() }
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Error {
        match error {
            LoadError::Io { path, source } => Error::Read { path, message: crate::data::io_message(&source) },
            error => Error::Load(error),
        }
    }
}

impl From<TensorError> for Error {
    fn from(error: TensorError) -> Error {
        Error::tensor(error.to_string())
    }
}

/// All diagnostics of a model with the texts that they point into.
///
/// Its `Display` is plain text with the source lines underlined.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub(crate) sources: SourceMap,
    pub(crate) diagnostics: Diagnostics,
}

impl Report {
    /// In the order of the file.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.diagnostics.clone().into_vec()
    }

    /// The texts that the diagnostics' spans point into.
    pub fn sources(&self) -> &SourceMap {
        &self.sources
    }

    /// How many errors there are, those that are not kept included.
    pub fn error_count(&self) -> usize {
        self.diagnostics.error_count()
    }

    /// How many warnings are kept.
    pub fn warning_count(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Warning).count()
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// How many messages there were beyond those that are kept.
    pub fn suppressed(&self) -> usize {
        self.diagnostics.suppressed()
    }

    /// An array of objects with resolved places.
    pub fn to_json(&self) -> serde_json::Value {
        self.diagnostics.to_json(&self.sources)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.diagnostics.render(&self.sources).trim_end())
    }
}

impl std::error::Error for Report {}
