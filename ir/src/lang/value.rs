//! What an expression is worth at compile time: a constant, a tensor of the graph, an initialisation, a layer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::args::ArgVal;
use crate::diag::Span;
use crate::dim::Dim;
use crate::graph::{EpArg, Graph, Value};
use crate::init::Init;
use crate::op::OpSpec;
use crate::scalar::Scalar;
use crate::syntax::ast::Function;

#[derive(Clone)]
pub enum Val<'a> {
    /// The expression was wrong and has been reported.
    Poison,
    Int(i64),
    /// An integer that depends on dimension names; never a plain number.
    Dim(Dim),
    Float(f64),
    Bool(bool),
    Str(Rc<str>),
    List(Rc<[Val<'a>]>),
    /// Several values; a call with several results gives one.
    Tuple(Rc<[Val<'a>]>),
    Tensor(Value),
    /// Inside an epilogue: the accumulator or a step's result.
    Step(EpArg),
    Init(InitVal<'a>),
    Layer(Rc<Layer<'a>>),
    /// `none`: no parameter.
    None,
    /// A name that means nothing here by itself: `same`, `in`. Only an argument can be one.
    Word(&'a str, Span),
}

/// An initial value as written.
#[derive(Clone)]
pub enum InitVal<'a> {
    Init(Init),
    File {
        file: Arc<str>,
        tensor: Arc<str>,
        blake3: Option<Arc<str>>,
    },
    /// Literal values; their element type is the parameter's.
    Data(Rc<[Val<'a>]>),
}

/// `layer tower = embed(128)`: a call whose parameters are made once.
pub struct Layer<'a> {
    pub callee: LayerCallee<'a>,
    pub args: Vec<ArgVal<'a>>,
    /// The full name that its parameters begin with.
    pub path: String,
    /// Parameters made so far, by full name.
    pub shared: Shared,
    pub span: Span,
}

pub type Shared = Rc<RefCell<HashMap<String, Value>>>;

pub enum LayerCallee<'a> {
    Block { module: usize, function: &'a Function },
    Op(&'static OpSpec),
}

impl<'a> Val<'a> {
    /// An integer, symbolic or not.
    pub fn dim(dim: Dim) -> Val<'a> {
        match dim {
            Dim::Const(value) => Val::Int(value),
            dim @ Dim::Expr(_) => Val::Dim(dim),
        }
    }

    pub fn list(items: impl IntoIterator<Item = Val<'a>>) -> Val<'a> {
        Val::List(items.into_iter().collect())
    }

    pub fn is_poison(&self) -> bool {
        matches!(self, Val::Poison)
    }

    /// A number that is no tensor.
    pub fn is_number(&self) -> bool {
        matches!(self, Val::Int(_) | Val::Float(_) | Val::Dim(_))
    }

    pub fn as_float(&self) -> Option<f64> {
        match self {
            Val::Int(value) => Some(*value as f64),
            Val::Float(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_dim(&self) -> Option<Dim> {
        match self {
            Val::Int(value) => Some(Dim::Const(*value)),
            Val::Dim(dim) => Some(dim.clone()),
            _ => None,
        }
    }

    /// The value in words, for messages: `the integer 3`, `a tensor f32[N, 3]`.
    pub fn describe(&self, graph: &Graph) -> String {
        match self {
            Val::Poison => "nothing".to_owned(),
            Val::Int(value) => format!("the integer {value}"),
            Val::Dim(dim) => format!("the size {dim}"),
            Val::Float(value) => format!("the number {}", Scalar(*value)),
            Val::Bool(value) => format!("{value}"),
            Val::Str(text) => format!("the string \"{}\"", text.chars().take(40).collect::<String>()),
            Val::List(items) => format!("a list of {}", items.len()),
            Val::Tuple(items) => format!("a tuple of {}", items.len()),
            Val::Tensor(value) => format!("a tensor {}", graph.ty(*value)),
            Val::Step(_) => "a value of the epilogue".to_owned(),
            Val::Init(_) => "an initialisation".to_owned(),
            Val::Layer(_) => "a layer".to_owned(),
            Val::None => "`none`".to_owned(),
            Val::Word(word, _) => format!("the word `{word}`"),
        }
    }
}
