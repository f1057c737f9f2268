//! Diagnostics: what the language front end reports, as plain data with places in the source.
//!
//! Pretty rendering with colours belongs to the facade; `render` here writes the plain text form that tests and
//! simple programs use. Everything can be serialised for `--error-format json`.

use std::fmt::Write as _;

use serde::Serialize;

/// One message to the user: an error, a warning or a remark, with the places it speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Stable short string such as `E0201-unknown-name`; part of the public contract.
    pub code: &'static str,
    pub message: String,
    /// The first label is the primary place; the others explain it.
    pub labels: Vec<(Span, String)>,
    pub notes: Vec<String>,
    /// What the user can do about it, in one sentence.
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Index of a file in a [`SourceMap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FileId(pub u32);

/// A half-open range of bytes of one file.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(file: FileId, start: u32, end: u32) -> Span {
        Span { file, start, end }
    }

    /// The smallest span that covers both; `other` must be of the same file.
    pub fn to(self, other: Span) -> Span {
        Span { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Spans are written in angle quotes, so that a comparison of two trees can cut them out.
impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "«{}:{}..{}»", self.file.0, self.start, self.end)
    }
}

impl Diagnostic {
    pub fn error(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, code, message.into())
    }

    pub fn warning(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, code, message.into())
    }

    fn new(severity: Severity, code: &'static str, message: String) -> Diagnostic {
        Diagnostic { severity, code, message, labels: Vec::new(), notes: Vec::new(), help: None }
    }

    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push((span, text.into()));
        self
    }

    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }

    /// Adds help only where there is some.
    #[must_use]
    pub fn maybe_help(mut self, text: Option<String>) -> Diagnostic {
        if text.is_some() {
            self.help = text;
        }
        self
    }

    /// The plain text form: message, place, source lines with underlines, notes, help.
    pub fn render(&self, sources: &SourceMap) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out, sources);
        out
    }

    fn write(&self, out: &mut String, sources: &SourceMap) -> std::fmt::Result {
        writeln!(out, "{}[{}]: {}", self.severity.name(), self.code, self.message)?;
        let mut last: Option<(FileId, u32)> = None;
        let gutter = self
            .labels
            .iter()
            .map(|(span, _)| decimal_width(sources.position(*span).line))
            .max()
            .unwrap_or(1);
        for (index, (span, text)) in self.labels.iter().enumerate() {
            let place = sources.position(*span);
            if last.is_none_or(|(file, _)| file != span.file) {
                let arrow = if index == 0 { "-->" } else { ":::" };
                writeln!(
                    out,
                    "{:gutter$}{arrow} {}:{}:{}",
                    "",
                    sources.name(span.file),
                    place.line,
                    place.column
                )?;
            }
            if last != Some((span.file, place.line)) {
                writeln!(out, "{:gutter$} |", "")?;
            }
            let window =
                Window::new(sources.line(span.file, place.line), place.column, span.end - span.start);
            if last != Some((span.file, place.line)) || window.clipped {
                writeln!(out, "{:>gutter$} | {}", place.line, window.text)?;
            }
            let mark = if index == 0 { "^" } else { "-" };
            let underline = format!("{}{}", " ".repeat(window.indent), mark.repeat(window.width));
            writeln!(out, "{:gutter$} | {}", "", format!("{underline} {text}").trim_end())?;
            last = Some((span.file, place.line));
        }
        for note in &self.notes {
            writeln!(out, "{:gutter$} = note: {note}", "")?;
        }
        if let Some(help) = &self.help {
            writeln!(out, "{:gutter$} = help: {help}", "")?;
        }
        Ok(())
    }
}

/// The visible part of a source line; a hostile line of megabytes must not flood the terminal.
struct Window {
    text: String,
    indent: usize,
    width: usize,
    clipped: bool,
}

impl Window {
    const BEFORE: usize = 60;
    const LENGTH: usize = 140;

    fn new(line: &str, column: u32, span_bytes: u32) -> Window {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let column = column as usize - 1;
        let total = line.chars().count();
        let marked: usize = {
            let start = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
            let end = (start + span_bytes as usize).min(line.len());
            line.get(start..end).map_or(1, |part| part.chars().count())
        };
        if total <= Window::LENGTH {
            let text = line.chars().map(clean).collect();
            return Window { text, indent: column, width: marked.max(1), clipped: false };
        }
        let first = column.saturating_sub(Window::BEFORE);
        let mut text: String = line.chars().skip(first).take(Window::LENGTH).map(clean).collect();
        let mut indent = column - first;
        if first > 0 {
            text.insert(0, '…');
            indent += 1;
        }
        if first + Window::LENGTH < total {
            text.push('…');
        }
        let width = marked.clamp(1, Window::LENGTH - (column - first).min(Window::LENGTH - 1));
        Window { text, indent, width, clipped: true }
    }
}

/// The files of one compilation: names and texts, and where their lines begin.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

#[derive(Clone, Debug)]
struct SourceFile {
    name: String,
    text: String,
    line_starts: Vec<u32>,
}

/// One-based line and column; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl SourceMap {
    pub fn new() -> SourceMap {
        SourceMap::default()
    }

    /// A map of one file.
    pub fn single(name: impl Into<String>, text: impl Into<String>) -> (SourceMap, FileId) {
        let mut map = SourceMap::new();
        let id = map.add(name, text);
        (map, id)
    }

    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let text = text.into();
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at as u32 + 1)).collect();
        self.files.push(SourceFile { name: name.into(), text, line_starts });
        FileId(self.files.len() as u32 - 1)
    }

    pub fn name(&self, file: FileId) -> &str {
        self.files.get(file.0 as usize).map_or("?", |file| &file.name)
    }

    pub fn text(&self, file: FileId) -> &str {
        self.files.get(file.0 as usize).map_or("", |file| &file.text)
    }

    /// The source text that a span covers.
    pub fn slice(&self, span: Span) -> &str {
        self.text(span.file).get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// Where a span begins.
    pub fn position(&self, span: Span) -> Position {
        let Some(file) = self.files.get(span.file.0 as usize) else { return Position { line: 1, column: 1 } };
        let line = file.line_starts.partition_point(|start| *start <= span.start);
        let start = file.line_starts[line - 1] as usize;
        let before = file.text.get(start..span.start as usize).unwrap_or("");
        Position { line: line as u32, column: before.chars().count() as u32 + 1 }
    }

    /// The text of a one-based line, without its line end.
    pub fn line(&self, file: FileId, line: u32) -> &str {
        let Some(file) = self.files.get(file.0 as usize) else { return "" };
        let Some(start) = file.line_starts.get(line as usize - 1) else { return "" };
        let end = file.line_starts.get(line as usize).map_or(file.text.len(), |next| *next as usize);
        file.text[*start as usize..end].trim_end_matches(['\n', '\r'])
    }
}

/// Collects diagnostics; beyond a limit, errors and warnings each, they are counted only.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    limit: usize,
    suppressed: usize,
    errors: usize,
    warnings: usize,
}

impl Default for Diagnostics {
    fn default() -> Diagnostics {
        Diagnostics { list: Vec::new(), limit: 100, suppressed: 0, errors: 0, warnings: 0 }
    }
}

impl Diagnostics {
    pub fn new() -> Diagnostics {
        Diagnostics::default()
    }

    pub fn push(&mut self, diagnostic: Diagnostic) {
        let error = diagnostic.severity == Severity::Error;
        self.errors += usize::from(error);
        self.warnings += usize::from(!error);
        // Each kind has its own limit, so that warnings never hide an error.
        let count = if error { self.errors } else { self.warnings };
        if count <= self.limit {
            self.list.push(diagnostic);
        } else {
            self.suppressed += 1;
        }
    }

    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    pub fn error_count(&self) -> usize {
        self.errors
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// How many were dropped because the limit was reached.
    pub fn suppressed(&self) -> usize {
        self.suppressed
    }

    /// Sorts by place, so that the report reads from top to bottom.
    pub fn sort(&mut self) {
        self.list
            .sort_by_key(|d| d.labels.first().map_or((FileId(0), 0), |(span, _)| (span.file, span.start)));
    }

    pub fn into_vec(mut self) -> Vec<Diagnostic> {
        self.sort();
        self.list
    }

    /// All diagnostics as plain text, with a last line when some were suppressed.
    pub fn render(&self, sources: &SourceMap) -> String {
        let mut sorted = self.clone();
        sorted.sort();
        let mut out = sorted.list.iter().map(|d| d.render(sources)).collect::<Vec<_>>().join("\n");
        if self.suppressed > 0 {
            let _ = writeln!(out, "\n{} further messages suppressed", self.suppressed);
        }
        out
    }

    /// The JSON form: an array of objects with resolved file names, lines and columns.
    pub fn to_json(&self, sources: &SourceMap) -> serde_json::Value {
        let mut sorted = self.clone();
        sorted.sort();
        sorted.list.iter().map(|d| d.to_json(sources)).collect()
    }
}

impl Diagnostic {
    /// One JSON object with resolved places.
    pub fn to_json(&self, sources: &SourceMap) -> serde_json::Value {
        let labels: Vec<serde_json::Value> = self
            .labels
            .iter()
            .map(|(span, text)| {
                let place = sources.position(*span);
                serde_json::json!({
                    "file": sources.name(span.file), "line": place.line, "column": place.column,
                    "start": span.start, "end": span.end, "text": text,
                })
            })
            .collect();
        serde_json::json!({
            "severity": self.severity.name(), "code": self.code, "message": self.message,
            "labels": labels, "notes": self.notes, "help": self.help,
        })
    }
}

/// The candidate nearest to a misspelt name, if one is near enough to be what was meant: a few changed letters, or one
/// word that begins with the other.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    let length = name.chars().count();
    if !(2..=LONGEST).contains(&length) {
        return None;
    }
    let allowed = (length / 3).max(1);
    let distance = |candidate: &'a str| {
        let distance = edit_distance(name, candidate);
        let shorter = length.min(candidate.len());
        let prefix = shorter >= 3 && (name.starts_with(candidate) || candidate.starts_with(name));
        // Among several, a changed letter is nearer than a missing half.
        if distance <= allowed {
            distance
        } else if prefix {
            LONGEST + distance
        } else {
            usize::MAX
        }
    };
    let near = |candidate: &&str| (2..=LONGEST).contains(&candidate.len()) && *candidate != name;
    let ranked = candidates.into_iter().filter(near).map(|candidate| (distance(candidate), candidate));
    ranked.filter(|(distance, _)| *distance < usize::MAX).min().map(|(_, candidate)| candidate)
}

/// `did you mean …?` as the text of a help line.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    did_you_mean(name, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other, ignoring case.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

fn decimal_width(number: u32) -> usize {
    number.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_labels_notes_and_help() {
        let (sources, file) = SourceMap::single("net.rect", "let a = 1\nlet b = covn(a, 3)\n");
        let diagnostic = Diagnostic::error("E0201-unknown-name", "unknown op `covn`")
            .label(Span::new(file, 18, 22), "no such op")
            .label(Span::new(file, 23, 24), "applied to this")
            .label(Span::new(file, 4, 5), "defined here")
            .note("ops are listed by `rectify ops`")
            .help("did you mean `conv`?");
        let want = "\
error[E0201-unknown-name]: unknown op `covn`
 --> net.rect:2:9
  |
2 | let b = covn(a, 3)
  |         ^^^^ no such op
  |              - applied to this
  |
1 | let a = 1
  |     - defined here
  = note: ops are listed by `rectify ops`
  = help: did you mean `conv`?
";
        assert_eq!(diagnostic.render(&sources), want);
        assert_eq!(diagnostic.to_json(&sources)["labels"][0]["line"], 2);
    }

    #[test]
    fn long_lines_are_clipped() {
        let text = format!("{}oops{}", "é".repeat(5000), "y".repeat(5000));
        let (sources, file) = SourceMap::single("net.rect", text);
        let shown = Diagnostic::error("E", "m").label(Span::new(file, 10000, 10004), "here").render(&sources);
        assert!(shown.len() < 600, "{shown}");
        let mark = shown.lines().nth(4).unwrap().chars().position(|c| c == '^').unwrap();
        let line: Vec<char> = shown.lines().nth(3).unwrap().chars().collect();
        assert_eq!(line[mark..mark + 4].iter().collect::<String>(), "oops");
    }

    #[test]
    fn limit_counts_the_rest() {
        let mut all = Diagnostics::new();
        (0..150).for_each(|i| all.push(Diagnostic::error("E", format!("{i}"))));
        assert_eq!((all.iter().count(), all.suppressed(), all.error_count()), (100, 50, 150));
        assert!(all.render(&SourceMap::new()).ends_with("50 further messages suppressed\n"));
    }

    #[test]
    fn suggestions() {
        let ops = ["conv", "conv_transpose", "concat", "prelu", "relu"];
        assert_eq!(did_you_mean("covn", ops), Some("conv"));
        assert_eq!(did_you_mean("conv_transposed", ops), Some("conv_transpose"));
        assert_eq!(did_you_mean("Relu", ops), Some("relu"));
        assert_eq!(did_you_mean("convolution", ops), Some("conv"));
        assert_eq!(did_you_mean("banana", ops), None);
        assert_eq!(did_you_mean("y", ["x"]), None);
    }
}
