//! `rectify ops`: the operations of the language, from the one table that the parser reads.

use super::Outcome;
use super::failure::Failure;
use super::table::Table;
use rectify::ops::{AttrKind, OPS, OpSpec, OperandKind};
use std::io::Write;

#[derive(clap::Args)]
pub struct Args {
    /// Show all of one operation
    name: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    let text = match &args.name {
        None => list(),
        Some(name) => match OPS.iter().find(|op| op.name == name) {
            Some(op) => one(op),
            None => {
                let failure = Failure::usage(format!("there is no operation `{name}`"));
                let near = rectify::diag::suggest(name, OPS.iter().map(|op| op.name));
                return Err(failure.help(near.unwrap_or_else(|| "`rectify ops` lists them".into())));
            }
        },
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn list() -> String {
    let mut table = Table::new(&["name", "category", "meaning"]);
    for op in OPS {
        table.row([op.name.to_owned(), format!("{:?}", op.category).to_lowercase(), op.doc.to_owned()]);
    }
    table.render()
}

fn one(op: &OpSpec) -> String {
    let mut table = Table::new(&["name", "takes", "default", "meaning"]);
    for operand in op.operands {
        let kind = match operand.kind {
            OperandKind::Data => "tensor",
            OperandKind::Param => "parameter, made by the layer unless given",
            OperandKind::OptionalParam => "parameter, `none` to do without",
            OperandKind::Variadic => "any number of tensors",
        };
        table.row([operand.name.to_owned(), kind.to_owned(), String::new(), String::new()]);
    }
    for attr in op.layer_attrs.iter().chain(op.attrs) {
        let kind = match attr.kind {
            AttrKind::Int => "integer".to_owned(),
            AttrKind::Float => "number".to_owned(),
            AttrKind::Bool => "true or false".to_owned(),
            AttrKind::Word(words) => words.join(" | "),
            AttrKind::Spatial => "integer, or one a spatial axis".to_owned(),
            AttrKind::Padding => "amounts, same or same_lower".to_owned(),
            AttrKind::Axis => "axis".to_owned(),
            AttrKind::Axes => "axes".to_owned(),
            AttrKind::Ints => "integers".to_owned(),
            AttrKind::Dims => "sizes".to_owned(),
            AttrKind::NewDim => "name of a size".to_owned(),
            AttrKind::Scales => "factor, or one a spatial axis".to_owned(),
        };
        let default = if attr.default.is_empty() { "required" } else { attr.default };
        table.row([format!("{}:", attr.name), kind, default.to_owned(), attr.doc.to_owned()]);
    }
    format!("{}: {}\nexample: {}\n\n{}", op.name, op.doc, op.example, table.render())
}
