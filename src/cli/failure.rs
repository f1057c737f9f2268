//! How a command ends when it does not end well, and how that is told.

use super::ErrorFormat;
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use rectify::diag::{Diagnostic, Severity};
use rectify::{DataError, Error, Fault, Report};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a command did not succeed.
pub enum Failure {
    /// The library says why.
    Library(Error),
    Usage {
        message: String,
        help: Option<String>,
    },
    /// Model or data at fault, told already.
    Told,
    /// Numbers differ, told already.
    Differs,
    /// The file system or the terminal refuses.
    System(String),
    /// A bug of ours.
    Bug(String),
    /// Whoever reads our output has enough of it.
    Closed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Library(error)
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Failure {
        Failure::Library(Error::Data(error))
    }
}

/// Of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::Closed;
        }
        Failure::System(format!("cannot write the output: {error}"))
    }
}

impl Failure {
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage { message: message.into(), help: None }
    }

    #[must_use]
    pub fn help(self, text: impl Into<String>) -> Failure {
        match self {
            Failure::Usage { message, .. } => Failure::Usage { message, help: Some(text.into()) },
            other => other,
        }
    }

    /// A file that cannot be written.
    pub fn write(path: &Path, error: &io::Error) -> Failure {
        Failure::System(format!("cannot write {}: {error}", path.display()))
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Closed => 0,
            Failure::Told | Failure::System(_) => 1,
            Failure::Usage { .. } => 2,
            Failure::Bug(_) => 3,
            Failure::Differs => 4,
            Failure::Library(error) => match error.fault() {
                Fault::Model | Fault::System => 1,
                Fault::Usage => 2,
                Fault::Bug => 3,
            },
        }
    }

    /// Writes the failure to stderr.
    pub fn report(&self, format: ErrorFormat) {
        match self {
            Failure::Closed | Failure::Told | Failure::Differs => {}
            Failure::Library(Error::Model(report)) => show_report(report, format),
            Failure::Library(error) if error.fault() == Fault::Bug => bug(&error.to_string(), format),
            Failure::Library(error) => show(Severity::Error, &error.to_string(), error.help(), format),
            Failure::Usage { message, help } => show(Severity::Error, message, help.as_deref(), format),
            Failure::System(message) => show(Severity::Error, message, None, format),
            Failure::Bug(message) => bug(message, format),
        }
    }
}

fn bug(message: &str, format: ErrorFormat) {
    let message = format!("this is a bug of rectify, not of your model: {message}");
    let help = format!(
        "please report it with the model and this line: rectify {} on {}-{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    show(Severity::Error, &message, Some(&help), format);
}

/// One message without a place.
pub fn show(severity: Severity, message: &str, help: Option<&str>, format: ErrorFormat) {
    let text = match format {
        ErrorFormat::Json => {
            serde_json::json!({ "severity": severity.name(), "message": message, "help": help }).to_string()
        }
        ErrorFormat::Human => {
            // Escape sequences out of a hostile file must not reach the terminal.
            let mut group = Group::with_title(level(severity).primary_title(clean(message)));
            if let Some(help) = help {
                group = group.element(Level::HELP.message(clean(help)));
            }
            renderer().render(&[group])
        }
    };
    write_stderr(&text);
}

/// True where everything on stderr is JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Makes notes follow the format of errors, so that programs can read all of stderr.
pub fn set_format(format: ErrorFormat) {
    JSON.store(format == ErrorFormat::Json, Ordering::Relaxed);
}

/// A note of what happens, not an error.
pub fn note(message: &str) {
    if JSON.load(Ordering::Relaxed) {
        write_stderr(&serde_json::json!({ "severity": "note", "message": message }).to_string());
    } else {
        write_stderr(&clean(message));
    }
}

/// All diagnostics of a model, each with its source lines.
pub fn show_report(report: &Report, format: ErrorFormat) {
    for diagnostic in report.diagnostics() {
        match format {
            ErrorFormat::Json => write_stderr(&diagnostic.to_json(report.sources()).to_string()),
            ErrorFormat::Human => write_stderr(&format!("{}\n", render(&diagnostic, report))),
        }
    }
    if report.suppressed() > 0 {
        let text = format!("{} further messages are not shown", report.suppressed());
        show(Severity::Error, &text, None, format);
    }
}

/// Lines longer than this are shown in the plain form, which clips them.
const LONGEST_LINE: usize = 400;

fn render(diagnostic: &Diagnostic, report: &Report) -> String {
    let sources = report.sources();
    let line = |span| sources.line(span_file(span), sources.position(span).line);
    if diagnostic.labels.iter().any(|(span, _)| line(*span).len() > LONGEST_LINE) {
        return diagnostic.render(sources).trim_end().to_owned();
    }
    let title = level(diagnostic.severity).primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    let mut group = Group::with_title(title);
    let mut files: Vec<_> = diagnostic.labels.iter().map(|(span, _)| span.file).collect();
    files.dedup();
    for file in files {
        let text = sources.text(file);
        let mut snippet = Snippet::source(text).path(sources.name(file)).line_start(1).fold(true);
        let here = diagnostic.labels.iter().enumerate().filter(|(_, (span, _))| span.file == file);
        for (index, (span, label)) in here {
            let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let end = (span.end as usize).min(text.len());
            snippet =
                snippet.annotation(kind.span((span.start as usize).min(end)..end).label(label.as_str()));
        }
        group = group.element(snippet);
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer().render(&[group])
}

fn span_file(span: rectify::diag::Span) -> rectify::diag::FileId {
    span.file
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    }
}

fn renderer() -> Renderer {
    let renderer = if io::stderr().is_terminal() { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii)
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn write_stderr(text: &str) {
    // Nothing is left to tell where stderr takes nothing. `anstream` honours NO_COLOR and plain terminals.
    let _ = writeln!(anstream::stderr(), "{text}");
}
