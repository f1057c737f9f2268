//! Tokens: kinds without payload; the text is read back through the span.

/// One token with the bytes it covers.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    pub kind: TokenKind,
    /// A line end lies between the previous token and this one.
    pub newline_before: bool,
    pub start: u32,
    pub end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Word,
    Keyword(Keyword),
    Int,
    Float,
    Str,
    /// `%3`, `%3.1`, `%name`.
    Value,
    /// `@head.weight`.
    Parameter,
    Punct(&'static str),
    /// Reported by the lexer; the parser stays silent about it.
    Error,
    End,
}

macro_rules! keywords {
    ($($name:ident $text:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Keyword { $($name),* }

        impl Keyword {
            pub fn from_text(text: &str) -> Option<Keyword> {
                match text { $($text => Some(Keyword::$name),)* _ => None }
            }
            pub fn text(self) -> &'static str {
                match self { $(Keyword::$name => $text),* }
            }
        }
    };
}

keywords! {
    As "as", Block "block", Const "const", Defaults "defaults", Else "else", False "false", For "for", If "if", In "in",
    Layer "layer", Let "let", Model "model", Param "param", Repeat "repeat", True "true", Use "use",
}

impl Keyword {
    /// Begins a file's item, so that recovery can stop before it.
    pub fn begins_item(self) -> bool {
        matches!(self, Keyword::Block | Keyword::Const | Keyword::Model | Keyword::Use)
    }

    /// Begins a statement and nothing else.
    pub fn begins_statement(self) -> bool {
        matches!(self, Keyword::Const | Keyword::Defaults | Keyword::Layer | Keyword::Let | Keyword::Param)
    }
}

/// Punctuation, longer ones first, so that the first match is the right one.
pub const PUNCTUATION: [&str; 28] = [
    "..=", "|>", "->", "=>", "==", "!=", "<=", ">=", "&&", "||", "..", "(", ")", "[", "]", "{", "}", ",",
    ";", ":", "=", "<", ">", "+", "-", "*", "/", "%",
];
