//! The printer: a syntax tree as canonical text, with its comments, and at most one blank line where there were some.
//!
//! `flat` writes a node on one line if it fits; `layout` breaks what does not. Comments are not part of the tree: the
//! layout walks the tree in source order and puts each comment where a line may begin or end.

mod flat;
mod layout;

pub use flat::{any_name, parameter_name, value_name};

use super::ast::File;
use crate::diag::{Diagnostics, FileId, SourceMap};

/// Longest line, in characters.
pub const WIDTH: usize = 110;
/// Spaces of one level.
const STEP: usize = 4;

/// Formats a file of the source map; `None` if it does not parse, with the errors in `diagnostics`.
pub fn format(sources: &SourceMap, file: FileId, diagnostics: &mut Diagnostics) -> Option<String> {
    let tree = super::parse(sources, file, diagnostics);
    if diagnostics.has_errors() {
        return None;
    }
    let mut text = print(sources.text(file), &tree);
    // A comment in an odd place moves to the next place that can hold one, which can let its old line fit. Three
    // rounds settle that; without comments the first result is final.
    for _ in 0..3 {
        if tree.comments.is_empty() {
            break;
        }
        let (map, id) = SourceMap::single("formatted", text.as_str());
        let again = super::parse(&map, id, &mut Diagnostics::new());
        let next = print(&text, &again);
        if next == text {
            break;
        }
        text = next;
    }
    Some(text)
}

/// Prints a tree once; `text` is the source it was parsed from.
fn print(text: &str, tree: &File) -> String {
    layout::Layout::new(text, &tree.comments).file(tree)
}
