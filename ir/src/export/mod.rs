//! Graphs for other programs and for people: JSON, DOT and SVG. The language's text form is in [`crate::print`].

pub(crate) mod base64;
mod describe;
mod dot;
mod json;
mod svg;

pub use dot::to_dot;
pub use json::{JSON_VERSION, JsonError, from_json, to_json};
pub use svg::{Annotation, SvgOptions, escape, shorten_front, to_svg};
