//! The syntax tree of a `.rect` file. Every node has its span; comments are kept beside the tree, by place.
//!
//! The tree is what was written: parentheses, labels and spelling of floats stay, and nothing is resolved. Its height
//! is bounded by `MAX_NESTING`: chains of operators, pipes and `else if` are lists, so recursion over it is safe.

use crate::diag::{FileId, Span};

/// One source file.
#[derive(Clone, Debug)]
pub struct File {
    pub id: FileId,
    pub header: Option<Header>,
    pub items: Vec<Item>,
    /// All comments in order of place, doc comments among them.
    pub comments: Vec<Comment>,
}

impl File {
    pub fn empty(id: FileId) -> File {
        File { id, header: None, items: Vec::new(), comments: Vec::new() }
    }
}

/// `// text` or `/// text`.
#[derive(Clone, Copy, Debug)]
pub struct Comment {
    pub span: Span,
    pub doc: bool,
    /// Nothing but white space precedes it on its line.
    pub own_line: bool,
}

/// `rect 1` or `rect 1 stage optimized`.
#[derive(Clone, Debug)]
pub struct Header {
    pub version: i64,
    pub stage: Option<Ident>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Item {
    Use(Use),
    Const(Const),
    Function(Function),
}

impl Item {
    pub fn span(&self) -> Span {
        match self {
            Item::Use(item) => item.span,
            Item::Const(item) => item.span,
            Item::Function(item) => item.span,
        }
    }
}

/// `use "f.rect" { a, b }`.
#[derive(Clone, Debug)]
pub struct Use {
    pub path: Str,
    pub names: Vec<Ident>,
    pub span: Span,
}

/// `const NAME = value`, in a file or in a body.
#[derive(Clone, Debug)]
pub struct Const {
    pub name: Ident,
    pub value: Expr,
    pub span: Span,
}

/// A model or a block: they differ in what their parameters and results may be, not in form.
#[derive(Clone, Debug)]
pub struct Function {
    pub kind: FunctionKind,
    /// The text of the `///` lines before it, joined by line ends.
    pub docs: String,
    pub name: Ident,
    pub params: Vec<Param>,
    /// `None` without an arrow.
    pub results: Option<Vec<ResultDecl>>,
    pub facts: Vec<Fact>,
    pub body: Body,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    Model,
    Block,
}

impl FunctionKind {
    pub fn keyword(self) -> &'static str {
        match self {
            FunctionKind::Model => "model",
            FunctionKind::Block => "block",
        }
    }
}

/// `x`, `x: f32[N, C]`, `stride: int = 1`.
#[derive(Clone, Debug)]
pub struct Param {
    pub name: Ident,
    pub ty: Option<Type>,
    pub default: Option<Expr>,
    pub span: Span,
}

/// `image: f32[N]`, `skip` or `f32[N]` behind the arrow.
#[derive(Clone, Debug)]
pub struct ResultDecl {
    pub name: Option<Ident>,
    pub ty: Option<Type>,
    pub span: Span,
}

/// A fact of a `where` list.
#[derive(Clone, Debug)]
pub enum Fact {
    /// `H % 4 == 0`.
    Holds(Expr),
    /// `H in 32..=2048` or `H in [1, 2, 4]`.
    In(Expr, Expr),
}

#[derive(Clone, Debug)]
pub struct Type {
    pub kind: TypeKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum TypeKind {
    /// `int`, `float`, `bool`, `str`, `list`: no brackets.
    Constant(Ident),
    /// `f32[N, 3, 2*H]`.
    Tensor(Ident, Vec<Expr>),
    /// `(f32[N], f32[M])`: a call with several results in a dump.
    Tuple(Vec<Type>),
}

/// Statements in braces; the value is the last one if it is an expression.
#[derive(Clone, Debug)]
pub struct Body {
    pub stmts: Vec<Stmt>,
    /// From brace to brace.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum StmtKind {
    Let {
        pattern: Pattern,
        ty: Option<Type>,
        value: Expr,
    },
    Const(Const),
    Param(Box<ParamDecl>),
    Layer {
        name: Ident,
        call: Expr,
    },
    Defaults(Vec<DefaultEntry>),
    Expr(Expr),
    /// Could not be parsed; reported already.
    Error,
}

/// `param b: f32[1] = constant(0) as out.bias` or `param @head.weight: f32[2, 3] = he_normal(fan: in) from("head")`.
#[derive(Clone, Debug)]
pub struct ParamDecl {
    pub name: Ident,
    /// Written with `@`: the name is the full name.
    pub full: bool,
    pub ty: Type,
    pub init: Expr,
    pub label: Option<Str>,
    pub provenance: Option<Provenance>,
}

/// `conv.weight = he_normal(fan: in)` in a `defaults` list.
#[derive(Clone, Debug)]
pub struct DefaultEntry {
    pub op: Ident,
    pub leaf: Ident,
    pub value: Expr,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Pattern {
    /// `x`, `_`, or `%3` (then `value` is set and the name is `3`).
    Name {
        name: Ident,
        value: bool,
    },
    Tuple(Vec<Pattern>, Span),
}

impl Pattern {
    pub fn span(&self) -> Span {
        match self {
            Pattern::Name { name, .. } => name.span,
            Pattern::Tuple(_, span) => *span,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Ident {
    pub text: String,
    pub span: Span,
}

/// A string literal, or a label path such as `head.weight`.
#[derive(Clone, Debug)]
pub struct Str {
    pub parts: Vec<StrPart>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum StrPart {
    Text(String),
    Expr(Expr),
}

impl Str {
    /// The text, where nothing is interpolated.
    pub fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [StrPart::Text(text)] => Some(text),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    Int(i64),
    /// The spelling is kept, so that `1e-5` stays as it was written.
    Float(f64, String),
    Bool(bool),
    Str(Box<Str>),
    Name(String),
    /// `%3`, `%3.1`, `%name`: the name without sigil and, where given, the result's number.
    Value(String, Option<u32>),
    /// `@head.weight`: the full name of a parameter.
    Parameter(String),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Paren(Box<Expr>),
    Unary(UnaryOp, Box<Expr>),
    /// Operators of one precedence, grouped from the left: `a + b - c`.
    Chain(Box<Expr>, Vec<(BinaryOp, Expr)>),
    Range(Box<Range>),
    Call(Box<Call>),
    Field(Box<Expr>, Ident),
    Index(Box<Expr>, Box<Expr>),
    /// `x |> f(1) |> g`: each stage is a call or a control expression.
    Pipe(Box<Expr>, Vec<Expr>),
    If(Box<If>),
    For(Box<For>),
    Repeat(Box<Repeat>),
}

/// `a..b` or `a..=b`.
#[derive(Clone, Debug)]
pub struct Range {
    pub start: Expr,
    pub end: Expr,
    pub inclusive: bool,
}

/// `conv(%1, kernel: 3) { %acc => … } as head from("head", "rule")`.
#[derive(Clone, Debug)]
pub struct Call {
    pub callee: Ident,
    /// `None` for a bare name, as in `|> prelu`.
    pub args: Option<Vec<Arg>>,
    pub region: Option<Region>,
    pub label: Option<Str>,
    pub provenance: Option<Provenance>,
}

#[derive(Clone, Debug)]
pub struct Arg {
    pub name: Option<Ident>,
    pub value: Expr,
    pub span: Span,
}

/// An epilogue: a name for the accumulator and steps over it.
#[derive(Clone, Debug)]
pub struct Region {
    pub accumulator: Ident,
    pub body: Body,
}

/// `from("label", "rule", …)`.
#[derive(Clone, Debug)]
pub struct Provenance {
    pub args: Vec<Arg>,
    pub span: Span,
}

/// `if a { … } else if b { … } else { … }`.
#[derive(Clone, Debug)]
pub struct If {
    pub branches: Vec<(Expr, Body)>,
    pub otherwise: Option<Body>,
}

#[derive(Clone, Debug)]
pub struct For {
    pub pattern: Pattern,
    pub list: Expr,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub struct Repeat {
    pub count: Expr,
    pub body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    Negate,
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl BinaryOp {
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Or => "||",
            BinaryOp::And => "&&",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Remainder => "%",
        }
    }
}
