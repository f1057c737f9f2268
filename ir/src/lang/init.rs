//! Initial values: `he_normal(fan: in)`, `constant(0)`, `file(…)`, `data(…)`, and what a parameter makes of them.

use std::rc::Rc;
use std::sync::Arc;

use super::args::ArgVal;
use super::call::Callee;
use super::cx::{Cx, Eval, Poisoned};
use super::value::{InitVal, Val};
use crate::diag::{Diagnostic, Span, suggest};
use crate::dtype::DType;
use crate::init::{Dist, Fan, Form, Gain, Init, Scheme};
use crate::literal::Literal;
use crate::op::Source;
use crate::scalar::Scalar;
use crate::types::TensorType;

/// Initialisations with their parameters in order of position.
const TABLE: [(&str, &[&str]); 15] = [
    ("he_normal", &["fan", "gain"]),
    ("he_uniform", &["fan", "gain"]),
    ("xavier_normal", &["fan", "gain"]),
    ("xavier_uniform", &["fan", "gain"]),
    ("lecun_normal", &["fan", "gain"]),
    ("lecun_uniform", &["fan", "gain"]),
    ("normal", &["std", "mean"]),
    ("uniform", &["low", "high"]),
    ("trunc_normal", &["std", "mean", "low", "high"]),
    ("torch_default", &["fan"]),
    ("constant", &["value"]),
    ("orthogonal", &["gain"]),
    ("identity", &[]),
    ("file", &["path", "tensor", "blake3"]),
    ("data", &["values"]),
];

/// The names of all initialisations.
pub const NAMES: [&str; 15] = {
    let mut names = [""; 15];
    let mut at = 0;
    while at < names.len() {
        names[at] = TABLE[at].0;
        at += 1;
    }
    names
};

pub fn is_init(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Arguments by position in the table's row.
type Given<'a> = Vec<Option<ArgVal<'a>>>;

impl<'a> Cx<'a, '_> {
    pub fn init_call(&mut self, callee: Callee<'a>, args: Vec<ArgVal<'a>>, span: Span) -> Eval<InitVal<'a>> {
        let Some((name, params)) = TABLE.into_iter().find(|(name, _)| *name == callee.name) else {
            return Err(Poisoned);
        };
        let given = self.init_args(name, params, args)?;
        let dist = match name {
            "file" => return self.init_file(&given, span),
            "data" => return self.init_data(given, span),
            "he_normal" => self.scaled(Scheme::He, Form::Normal, &given)?,
            "he_uniform" => self.scaled(Scheme::He, Form::Uniform, &given)?,
            "xavier_normal" => self.scaled(Scheme::Xavier, Form::Normal, &given)?,
            "xavier_uniform" => self.scaled(Scheme::Xavier, Form::Uniform, &given)?,
            "lecun_normal" => self.scaled(Scheme::Lecun, Form::Normal, &given)?,
            "lecun_uniform" => self.scaled(Scheme::Lecun, Form::Uniform, &given)?,
            "normal" => {
                let (std, mean) =
                    (self.number(&given[0], Some(1.0), span)?, self.number(&given[1], Some(0.0), span)?);
                self.not_negative(std, &given[0], span)?;
                Dist::Normal { mean, std }
            }
            "uniform" => {
                let (low, high) = (self.number(&given[0], None, span)?, self.number(&given[1], None, span)?);
                self.ordered(low, high, span)?;
                Dist::Uniform { low, high }
            }
            "trunc_normal" => {
                let (std, mean) =
                    (self.number(&given[0], Some(1.0), span)?, self.number(&given[1], Some(0.0), span)?);
                let (low, high) =
                    (self.number(&given[2], Some(-2.0), span)?, self.number(&given[3], Some(2.0), span)?);
                self.not_negative(std, &given[0], span)?;
                self.ordered(low, high, span)?;
                Dist::TruncNormal { mean, std, low, high }
            }
            "torch_default" => Dist::TorchDefault { fan: self.fan(&given[0], Fan::In)? },
            "constant" => Dist::Constant(self.number(&given[0], None, span)?),
            "orthogonal" => Dist::Orthogonal { gain: self.gain(&given[0], Gain::Value(Scalar(1.0)))? },
            _ => Dist::Identity,
        };
        Ok(InitVal::Init(dist.into()))
    }

    fn init_args(&mut self, name: &str, params: &[&'static str], args: Vec<ArgVal<'a>>) -> Eval<Given<'a>> {
        let mut given: Given<'a> = params.iter().map(|_| None).collect();
        let mut next = 0;
        for arg in args {
            let at = match arg.name {
                None => {
                    next += 1;
                    Some(next - 1).filter(|at| *at < params.len())
                }
                Some(wanted) => params.iter().position(|param| *param == wanted.text),
            };
            let place = arg.name.map_or(arg.span, |name| name.span);
            match at {
                Some(at) if given[at].is_none() => given[at] = Some(arg),
                Some(_) => return Err(self.error("E0413-argument", "given twice", place, "second value")),
                None => {
                    let takes = if params.is_empty() {
                        "nothing".to_owned()
                    } else {
                        format!("`{}`", params.join("`, `"))
                    };
                    let near = arg.name.and_then(|name| suggest(&name.text, params.iter().copied()));
                    let diagnostic = Diagnostic::error("E0413-argument", format!("`{name}` takes {takes}"))
                        .label(place, "not an argument of it")
                        .maybe_help(near);
                    return Err(self.report(diagnostic));
                }
            }
        }
        Ok(given)
    }

    fn scaled(&mut self, scheme: Scheme, form: Form, given: &Given<'a>) -> Eval<Dist> {
        let Dist::Scaled { fan, gain, .. } = Init::scaled(scheme, form).dist else { return Err(Poisoned) };
        Ok(Dist::Scaled { scheme, form, fan: self.fan(&given[0], fan)?, gain: self.gain(&given[1], gain)? })
    }

    fn fan(&mut self, arg: &Option<ArgVal<'a>>, default: Fan) -> Eval<Fan> {
        let Some(arg) = arg else { return Ok(default) };
        match (arg.word(), arg.value.as_float()) {
            (Some("in"), _) => Ok(Fan::In),
            (Some("out"), _) => Ok(Fan::Out),
            (Some("avg"), _) => Ok(Fan::Avg),
            (_, Some(value)) if value > 0.0 && value.is_finite() => Ok(Fan::Value(Scalar(value))),
            _ => Err(self.bad_init(arg, "`fan` is `in`, `out`, `avg` or a positive number")),
        }
    }

    fn gain(&mut self, arg: &Option<ArgVal<'a>>, default: Gain) -> Eval<Gain> {
        let Some(arg) = arg else { return Ok(default) };
        match (arg.word(), arg.value.as_float()) {
            (Some("auto"), _) => Ok(Gain::Auto),
            (_, Some(value)) if value.is_finite() => Ok(Gain::Value(Scalar(value))),
            _ => Err(self.bad_init(arg, "`gain` is `auto` or a number")),
        }
    }

    fn number(&mut self, arg: &Option<ArgVal<'a>>, default: Option<f64>, span: Span) -> Eval<Scalar> {
        match (arg, default) {
            (None, Some(default)) => Ok(Scalar(default)),
            (None, None) => Err(self.error("E0503-init", "a number is missing", span, "needs a number")),
            (Some(arg), _) => match arg.value.as_float() {
                Some(value) => Ok(Scalar(value)),
                None => Err(self.bad_init(arg, "this must be a number")),
            },
        }
    }

    fn not_negative(&mut self, std: Scalar, arg: &Option<ArgVal<'a>>, span: Span) -> Eval<()> {
        if std.0 >= 0.0 && std.0.is_finite() {
            return Ok(());
        }
        let span = arg.as_ref().map_or(span, |arg| arg.span);
        Err(self.error(
            "E0503-init",
            format!("a standard deviation cannot be {std}"),
            span,
            "must be at least 0",
        ))
    }

    fn ordered(&mut self, low: Scalar, high: Scalar, span: Span) -> Eval<()> {
        if low.0 <= high.0 {
            return Ok(());
        }
        Err(self.error(
            "E0503-init",
            format!("the bounds {low} and {high} are not in order"),
            span,
            "low is above high",
        ))
    }

    fn bad_init(&mut self, arg: &ArgVal<'a>, message: &str) -> Poisoned {
        if arg.value.is_poison() {
            return Poisoned;
        }
        let what = self.describe(&arg.value);
        self.error("E0503-init", message, arg.span, &format!("this is {what}"))
    }

    fn init_file(&mut self, given: &Given<'a>, span: Span) -> Eval<InitVal<'a>> {
        let mut texts: [Option<Arc<str>>; 3] = [None, None, None];
        for (text, arg) in texts.iter_mut().zip(given) {
            let Some(arg) = arg else { continue };
            let Val::Str(value) = &arg.value else { return Err(self.bad_init(arg, "this must be a string")) };
            *text = Some(Arc::from(&**value));
        }
        let [Some(file), Some(tensor), blake3] = texts else {
            let message = "`file` needs the name of a file and of a tensor in it";
            return Err(self.error(
                "E0503-init",
                message,
                span,
                "write `file(\"m.safetensors\", \"conv1.weight\")`",
            ));
        };
        let hex = |text: &Arc<str>| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if blake3.as_ref().is_some_and(|hash| !hex(hash)) {
            return Err(self.error(
                "E0503-init",
                "a blake3 hash has 64 hexadecimal digits",
                span,
                "not a hash",
            ));
        }
        Ok(InitVal::File { file, tensor, blake3 })
    }

    fn init_data(&mut self, given: Given<'a>, span: Span) -> Eval<InitVal<'a>> {
        let mut out = Vec::new();
        match given.into_iter().next().flatten() {
            Some(arg) => self.flatten(&arg.value, arg.span, &mut out)?,
            None => {
                return Err(self.error("E0503-init", "`data` needs a list of numbers", span, "no values"));
            }
        }
        Ok(InitVal::Data(out.into()))
    }

    fn flatten(&mut self, value: &Val<'a>, span: Span, out: &mut Vec<Val<'a>>) -> Eval<()> {
        self.step(1, span)?;
        match value {
            Val::List(items) => items.iter().try_for_each(|item| self.flatten(item, span, out)),
            Val::Int(_) | Val::Float(_) | Val::Bool(_) => {
                out.push(value.clone());
                Ok(())
            }
            Val::Poison => Err(Poisoned),
            other => {
                let what = self.describe(other);
                Err(self.error("E0503-init", "`data` holds numbers", span, &format!("found {what}")))
            }
        }
    }

    /// The initial value that an argument or default stands for; a number is a constant.
    pub fn initial_value(&mut self, value: Val<'a>, span: Span) -> Eval<InitVal<'a>> {
        match value {
            Val::Init(init) => Ok(init),
            Val::Poison => Err(Poisoned),
            Val::Word(name, span) => Err(self.unknown_name(name, span)),
            other => match other.as_float() {
                Some(value) => Ok(InitVal::Init(Init::constant(value))),
                None => {
                    let what = self.describe(&other);
                    let diagnostic = Diagnostic::error("E0503-init", format!("{what} is no initial value"))
                        .label(span, "an initialisation or a number is needed")
                        .help("write `he_normal(fan: in)`, `constant(0.1)` or `0.1`");
                    Err(self.report(diagnostic))
                }
            },
        }
    }

    /// The source of a parameter of a type.
    pub fn source(&mut self, init: InitVal<'a>, ty: &TensorType, span: Span) -> Eval<Source> {
        match init {
            InitVal::Init(init) if !is_finite(&init) => Err(self.error(
                "E0503-init",
                "the numbers of an initialisation are finite",
                span,
                "not finite",
            )),
            InitVal::Init(init) => Ok(Source::Init(init)),
            InitVal::File { file, tensor, blake3 } => Ok(Source::File { file, tensor, blake3 }),
            InitVal::Data(values) => self.literal(values, ty, span).map(Source::Data),
        }
    }

    fn literal(&mut self, values: Rc<[Val<'a>]>, ty: &TensorType, span: Span) -> Eval<Literal> {
        let shape = ty.const_shape().ok_or(Poisoned)?;
        let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        if elements != Some(values.len()) {
            let message = format!("{} values for {ty}", values.len());
            return Err(self.error(
                "E0503-init",
                message,
                span,
                "the number of values does not fit the type",
            ));
        }
        let mut bytes = Vec::with_capacity(values.len() * ty.dtype.size_bytes());
        for value in values.iter() {
            if !encode(value, ty.dtype, &mut bytes) {
                let what = self.describe(value);
                let message = format!("{what} is no value of {}", ty.dtype);
                return Err(self.error("E0503-init", message, span, "in these values"));
            }
        }
        Ok(Literal { dtype: ty.dtype, shape, bytes: bytes.into() })
    }
}

fn is_finite(init: &Init) -> bool {
    let numbers: &[Scalar] = match &init.dist {
        Dist::Scaled { .. } | Dist::TorchDefault { .. } | Dist::Orthogonal { .. } | Dist::Identity => &[],
        Dist::Normal { mean, std } => &[*mean, *std],
        Dist::TruncNormal { mean, std, low, high } => &[*mean, *std, *low, *high],
        Dist::Uniform { low, high } => &[*low, *high],
        Dist::Constant(value) => &[*value],
    };
    numbers.iter().chain([&init.scale, &init.shift]).all(|number| number.0.is_finite())
}

/// Appends the bytes of one element; false if the value does not fit the type.
fn encode(value: &Val<'_>, dtype: DType, out: &mut Vec<u8>) -> bool {
    let number = match value {
        Val::Bool(value) if dtype == DType::Bool => {
            out.push(u8::from(*value));
            return true;
        }
        value => value,
    };
    if dtype.is_float() {
        let Some(value) = number.as_float() else { return false };
        match dtype {
            DType::F64 => out.extend(value.to_le_bytes()),
            DType::F16 => out.extend(half::f16::from_f64(value).to_le_bytes()),
            DType::BF16 => out.extend(half::bf16::from_f64(value).to_le_bytes()),
            _ => out.extend((value as f32).to_le_bytes()),
        }
        return true;
    }
    let Val::Int(value) = *number else { return false };
    macro_rules! integer {
        ($ty:ty) => {
            <$ty>::try_from(value).map(|value| out.extend(value.to_le_bytes())).is_ok()
        };
    }
    match dtype {
        DType::I8 => integer!(i8),
        DType::I16 => integer!(i16),
        DType::I32 => integer!(i32),
        DType::I64 => integer!(i64),
        DType::U8 => integer!(u8),
        DType::U16 => integer!(u16),
        DType::U32 => integer!(u32),
        DType::U64 => integer!(u64),
        DType::Bool | DType::F32 | DType::F64 | DType::F16 | DType::BF16 => false,
    }
}
