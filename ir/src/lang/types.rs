//! Types: written ones, and how they compare with what is there.

use super::cx::{Cx, Eval, Poisoned};
use super::value::Val;
use crate::diag::{Diagnostic, Span, suggest};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::shape;
use crate::syntax::ast::{Expr, ExprKind, Ident, Type, TypeKind};
use crate::types::{MAX_RANK, ShapeDisplay, TensorType};

const CONSTANT_TYPES: [&str; 5] = ["int", "float", "bool", "str", "list"];

impl<'a> Cx<'a, '_> {
    /// A written tensor type whose sizes are all known here.
    pub fn tensor_type(&mut self, ty: &'a Type) -> Eval<TensorType> {
        let (dtype, dims) = self.tensor_parts(ty)?;
        let mut shape = Vec::new();
        let mut ok = Ok(());
        for dim in dims {
            match self.size(dim) {
                Ok(dim) => shape.push(dim),
                Err(Poisoned) => ok = Err(Poisoned),
            }
        }
        ok?;
        let ty_found = TensorType::new(dtype, shape);
        match shape::check_type(&ty_found, &self.graph.facts) {
            Ok(()) => Ok(ty_found),
            Err(error) => Err(self.error("E0305-type", error.message, ty.span, "not a possible type")),
        }
    }

    fn tensor_parts(&mut self, ty: &'a Type) -> Eval<(DType, &'a [Expr])> {
        match &ty.kind {
            TypeKind::Tensor(name, dims) => {
                if dims.len() > MAX_RANK {
                    let message = format!("a tensor has at most {MAX_RANK} axes");
                    return Err(self.error("E0305-type", message, ty.span, &format!("{} axes", dims.len())));
                }
                Ok((self.dtype(name)?, dims))
            }
            TypeKind::Constant(name) => {
                let mut diagnostic =
                    Diagnostic::error("E0305-type", format!("`{}` is no tensor type", name.text))
                        .label(name.span, "a tensor type is needed here");
                if DType::from_name(&name.text).is_some() {
                    diagnostic = diagnostic.help(format!("give the shape, as in `{}[N, 3]`", name.text));
                }
                Err(self.report(diagnostic))
            }
            TypeKind::Tuple(_) => {
                Err(self.error("E0305-type", "one tensor type is needed here", ty.span, "a tuple"))
            }
        }
    }

    fn dtype(&mut self, name: &Ident) -> Eval<DType> {
        if let Some(dtype) = DType::from_name(&name.text) {
            return Ok(dtype);
        }
        let known = DType::ALL.map(DType::name);
        let diagnostic = Diagnostic::error("E0305-type", format!("there is no element type `{}`", name.text))
            .label(name.span, "not a type")
            .help(format!("element types are {}", known.join(", ")))
            .maybe_help(suggest(&name.text, known));
        Err(self.report(diagnostic))
    }

    fn size(&mut self, expr: &'a Expr) -> Eval<Dim> {
        let value = self.value(expr)?;
        self.want_dim(value, expr.span)
    }

    /// Compares a declared type with a value; in a type, `_` stands for any size.
    pub fn check_declared(&mut self, ty: &'a Type, value: &Val<'a>, span: Span) -> Eval<()> {
        match (&ty.kind, value) {
            (_, Val::Poison) => Err(Poisoned),
            (TypeKind::Tuple(types), Val::Tuple(items)) if types.len() == items.len() => {
                types.iter().zip(items.iter()).try_for_each(|(ty, item)| self.check_declared(ty, item, span))
            }
            (TypeKind::Tensor(name, dims), Val::Tensor(tensor)) => {
                let found = self.graph.ty(*tensor).clone();
                let dtype = self.dtype(name)?;
                let mut shape = Vec::new();
                for (axis, dim) in dims.iter().enumerate() {
                    shape.push(match (&dim.kind, found.shape.get(axis)) {
                        (ExprKind::Name(name), Some(found)) if name == "_" => found.clone(),
                        _ => self.size(dim)?,
                    });
                }
                self.check_same(&TensorType::new(dtype, shape), &found, ty.span, span)
            }
            (TypeKind::Constant(name), _) if CONSTANT_TYPES.contains(&name.text.as_str()) => {
                self.check_constant(name, value, span)
            }
            _ => {
                let what = self.describe(value);
                self.type_parts(ty)?;
                let message = format!("the declared type does not fit {what}");
                let diagnostic = Diagnostic::error("E0301-type-mismatch", message)
                    .label(ty.span, "declared here")
                    .label(span, format!("this is {what}"));
                Err(self.report(diagnostic))
            }
        }
    }

    /// Reports types that do not exist, wherever they stand.
    fn type_parts(&mut self, ty: &'a Type) -> Eval<()> {
        match &ty.kind {
            TypeKind::Tensor(name, _) => self.dtype(name).map(|_| ()),
            TypeKind::Constant(name) if CONSTANT_TYPES.contains(&name.text.as_str()) => Ok(()),
            TypeKind::Constant(_) => self.tensor_parts(ty).map(|_| ()),
            TypeKind::Tuple(types) => types.iter().try_for_each(|ty| self.type_parts(ty)),
        }
    }

    /// Reports two types that differ, with both shapes.
    pub fn check_same(
        &mut self,
        declared: &TensorType,
        found: &TensorType,
        at: Span,
        span: Span,
    ) -> Eval<()> {
        if declared == found {
            return Ok(());
        }
        let message = if declared.dtype != found.dtype {
            format!("declared element type {}, found {}", declared.dtype, found.dtype)
        } else if declared.rank() != found.rank() {
            format!("declared {} axes, found {}", declared.rank(), found.rank())
        } else {
            let axis =
                (0..declared.rank()).find(|axis| declared.shape[*axis] != found.shape[*axis]).unwrap_or(0);
            format!("declared size {} along axis {axis}, found {}", declared.shape[axis], found.shape[axis])
        };
        let same = ShapeDisplay(&found.shape).to_string() == ShapeDisplay(&declared.shape).to_string();
        let mut diagnostic = Diagnostic::error("E0301-type-mismatch", message)
            .label(at, format!("declared {declared}"))
            .label(span, format!("this is {found}"));
        if !same && declared.rank() == found.rank() && declared.shape.iter().zip(&found.shape).any(uncertain)
        {
            diagnostic =
                diagnostic.help("sizes must be the same for all values of the names; add facts with `where`");
        }
        Err(self.report(diagnostic))
    }

    /// Gives a typed parameter of a block its value: names in a tensor's type take the sizes that are there.
    pub fn unify(&mut self, ty: &'a Type, value: Val<'a>, span: Span, param: &'a Ident) -> Eval<Val<'a>> {
        if let TypeKind::Tensor(_, dims) = &ty.kind {
            let shape = match &value {
                Val::Tensor(tensor) => self.graph.ty(*tensor).shape.clone(),
                _ => Vec::new(),
            };
            for (axis, dim) in dims.iter().enumerate() {
                if let ExprKind::Name(name) = &dim.kind
                    && self.local(name).is_none()
                    && !self.is_constant(name)
                {
                    let size = shape.get(axis).filter(|_| shape.len() == dims.len());
                    self.bind(name, size.map_or(Val::Poison, |size| Val::dim(size.clone())));
                }
            }
        }
        match (&ty.kind, value) {
            (_, Val::Poison) => Err(Poisoned),
            (TypeKind::Tensor(name, dims), Val::Tensor(tensor)) => {
                let dtype = self.dtype(name)?;
                let found = self.graph.ty(tensor).clone();
                let mut shape = Vec::new();
                for (axis, dim) in dims.iter().enumerate() {
                    shape.push(match (&dim.kind, found.shape.get(axis)) {
                        (ExprKind::Name(name), Some(found)) if name == "_" => found.clone(),
                        // With another number of axes nothing is bound, and the sizes do not matter.
                        _ if dims.len() != found.rank() => Dim::Const(1),
                        _ => self.size(dim)?,
                    });
                }
                if dims.len() != found.rank() {
                    let message = format!("`{}` has {} axes, but this is {found}", param.text, dims.len());
                    let diagnostic = Diagnostic::error("E0301-type-mismatch", message);
                    let diagnostic =
                        diagnostic.label(span, format!("this is {found}")).label(ty.span, "declared here");
                    return Err(self.report(diagnostic));
                }
                self.check_same(&TensorType::new(dtype, shape), &found, ty.span, span)?;
                Ok(Val::Tensor(tensor))
            }
            (TypeKind::Constant(name), Val::Int(value)) if name.text == "float" => {
                Ok(Val::Float(value as f64))
            }
            (_, value) => {
                self.check_declared(ty, &value, span)?;
                Ok(value)
            }
        }
    }

    fn check_constant(&mut self, name: &Ident, value: &Val<'a>, span: Span) -> Eval<()> {
        let fits = match (name.text.as_str(), value) {
            // A size that depends on names is an integer too.
            ("int", Val::Int(_) | Val::Dim(_)) | ("float", Val::Float(_) | Val::Int(_)) => true,
            ("bool", Val::Bool(_)) | ("str", Val::Str(_)) => true,
            ("list", Val::List(_) | Val::Tuple(_)) => true,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let what = self.describe(value);
        let diagnostic =
            Diagnostic::error("E0301-type-mismatch", format!("`{}` is needed, not {what}", name.text))
                .label(span, format!("this is {what}"))
                .label(name.span, "declared here");
        Err(self.report(diagnostic))
    }
}

/// Both sizes depend on names, so that more facts might make them equal.
fn uncertain((a, b): (&Dim, &Dim)) -> bool {
    a != b && a.as_const().is_none() && b.as_const().is_none()
}
