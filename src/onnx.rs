//! ONNX files as models: told by content, imported, their weights read where they lie in the mapped file.

use crate::data::DataError;
use crate::error::{Error, Report};
use crate::import::onnx::{
    Imported, LoadError, OnnxModel, OnnxWeights, Options, Problem, ProblemKind, Problems,
};
use rectify_ir::diag::Diagnostic;
use rectify_ir::literal::Literal;
use rectify_ir::{DType, Dim, Graph, Value};
use rectify_runtime::TensorView;
use rectify_runtime::packs::TensorStore;
use rectify_runtime::weights::decode_f32;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What an imported model keeps of its file.
#[derive(Debug)]
pub(crate) struct Onnx {
    file: Arc<OnnxModel>,
    /// What the file is called in messages.
    name: String,
    pub weights: Arc<OnnxWeights>,
    /// The values that the file's names stand for.
    pub tensors: Vec<(Arc<str>, Value)>,
    /// Inputs of the file that have become constants.
    pub values: BTreeMap<String, Literal>,
    /// Inputs without whose values there is no graph yet.
    pub needs: Vec<String>,
}

/// True where the bytes are no text and may be a serialised model. Only the beginning of a file need be given.
pub(crate) fn is_onnx(name: &str, head: &[u8]) -> bool {
    if Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
        return true;
    }
    // Keys of the fields that writers put first: ir_version, producer_name, graph, opset_import. Two of them are
    // letters in a text; but a text has no control characters, and a model has lengths.
    let key = matches!(head.first(), Some(0x08 | 0x12 | 0x3a | 0x42));
    let control = |b: &u8| *b < 0x20 && !matches!(*b, b'\t' | b'\n' | b'\r' | 0x0c);
    key && head.iter().any(control)
}

/// The bytes are no model, or not a whole one.
fn no_model(path: &Path, error: &LoadError) -> Error {
    let help = match error {
        LoadError::NoGraph => "the file is empty, or one of tensors alone: export the network again",
        _ => "export the network again, or fetch the file again if a copy or a download ended early",
    };
    Error::Data(DataError::new(path, error.to_string()).help(help))
}

impl Onnx {
    pub fn open(path: &Path) -> Result<(Graph, Onnx), Error> {
        let name = path.display().to_string();
        let file = OnnxModel::open(path).map_err(|e| match e {
            LoadError::Io { error, .. } => Error::Read { path: path.to_owned(), message: error },
            other => no_model(path, &other),
        })?;
        Onnx::import(Arc::new(file), name, &BTreeMap::new(), &BTreeMap::new())
    }

    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<(Graph, Onnx), Error> {
        let file = OnnxModel::from_bytes(bytes.to_vec(), name).map_err(|e| no_model(Path::new(name), &e))?;
        Onnx::import(Arc::new(file), name.to_owned(), &BTreeMap::new(), &BTreeMap::new())
    }

    /// The model for the values of those inputs that shapes depend on. Other inputs are not looked at.
    pub fn with_values(
        &self,
        graph: &Graph,
        inputs: &[(&str, TensorView<'_>)],
    ) -> Result<(Graph, Onnx), Error> {
        let mut values = BTreeMap::new();
        let mut dims = BTreeMap::new();
        let mut names = self.needs.clone();
        loop {
            for name in &names {
                let given = inputs.iter().find(|(n, _)| n == name);
                let (_, view) = given.ok_or_else(|| open_error(std::slice::from_ref(name)))?;
                check_input(graph, name, view)?;
                learn_dims(graph, name, view, &mut dims);
                values.insert(name.clone(), literal(view));
            }
            let (bound, onnx) = Onnx::import(self.file.clone(), self.name.clone(), &values, &dims)?;
            names = onnx.needs.iter().filter(|n| !values.contains_key(*n)).cloned().collect();
            if names.is_empty() {
                if onnx.needs.is_empty() {
                    return Ok((bound, onnx));
                }
                return Err(open_error(&onnx.needs));
            }
        }
    }

    fn import(
        file: Arc<OnnxModel>,
        name: String,
        values: &BTreeMap<String, Literal>,
        dims: &BTreeMap<String, i64>,
    ) -> Result<(Graph, Onnx), Error> {
        let options = Options { values: values.clone(), dims: dims.clone(), multiples_of: None };
        let (graph, tensors, weights, needs) = match file.import(&options) {
            Ok(Imported { graph, weights, tensors }) => (graph, tensors, weights, Vec::new()),
            Err(problems) => match problems.needed_values() {
                // An import that asks again for what it was given will not succeed.
                Some(needs) if needs.iter().any(|n| !values.contains_key(n)) => {
                    (file.declared(&options)?, Vec::new(), Arc::default(), needs)
                }
                Some(_) | None => return Err(problems.into()),
            },
        };
        if needs.is_empty() {
            rectify_ir::verify::verify(&graph).map_err(|violations| {
                let lines: Vec<_> = violations.iter().take(20).map(ToString::to_string).collect();
                Error::internal("import", lines.join("; "))
            })?;
        }
        Ok((graph, Onnx { file, name, weights, tensors, values: values.clone(), needs }))
    }

    /// What the sources in the graph call the file.
    pub fn file_name(&self) -> &Arc<str> {
        self.weights.file()
    }

    /// Format, version of the operators, and who wrote the file, as it says.
    pub fn origin(&self) -> String {
        let producer = self.file.producer();
        let by = if producer.is_empty() { String::new() } else { format!(", by {producer}") };
        format!("ONNX, operator set {}{by}", self.file.opset())
    }

    pub fn store(&self) -> Arc<dyn TensorStore> {
        Arc::new(Store(self.weights.clone()))
    }
}

/// Nothing can be said or made of the model before these inputs are known.
pub(crate) fn open_error(needs: &[String]) -> Error {
    let names: Vec<_> = needs.iter().map(|n| format!("`{n}`")).collect();
    Error::Option {
        message: format!("shapes of this model depend on the values of its inputs: {}", names.join(", ")),
        help: Some("give them (`--input NAME=FILE`, or Model::with_values)".into()),
    }
}

fn literal(view: &TensorView<'_>) -> Literal {
    Literal { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.bytes().into() }
}

fn check_input(graph: &Graph, name: &str, view: &TensorView<'_>) -> Result<(), Error> {
    let input = graph.inputs().iter().find(|id| graph.node(**id).name.as_deref() == Some(name));
    let Some(ty) = input.and_then(|id| graph.node(*id).types.first()) else { return Ok(()) };
    let same = |(dim, size): (&Dim, &usize)| dim.as_const().is_none_or(|n| usize::try_from(n) == Ok(*size));
    let shape = view.shape();
    if view.dtype() == ty.dtype && shape.len() == ty.rank() && ty.shape.iter().zip(shape).all(same) {
        return Ok(());
    }
    Err(Error::tensor(format!("the input `{name}` is {ty}, but {}{shape:?} is given", view.dtype())))
}

/// An input whose values are used has known sizes.
fn learn_dims(graph: &Graph, name: &str, view: &TensorView<'_>, dims: &mut BTreeMap<String, i64>) {
    let input = graph.inputs().iter().find(|id| graph.node(**id).name.as_deref() == Some(name));
    let Some(ty) = input.and_then(|id| graph.node(*id).types.first()) else { return };
    for (dim, size) in ty.shape.iter().zip(view.shape()) {
        // A declared size is a number or one name.
        if dim.as_const().is_none()
            && let Ok(size) = i64::try_from(*size)
        {
            dims.entry(dim.to_string()).or_insert(size);
        }
    }
}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Error {
        let mut report = Report::default();
        for problem in problems.0 {
            report.push(diagnostic(problem));
        }
        Error::Model(Box::new(report))
    }
}

/// Code of the diagnostics that say that a model is sound but asks for more than there is.
pub(crate) const UNSUPPORTED: &str = "E0801-onnx-unsupported";

fn diagnostic(problem: Problem) -> Diagnostic {
    let code = match problem.kind {
        ProblemKind::UnsupportedOp
        | ProblemKind::UnsupportedAttribute
        | ProblemKind::UnsupportedType
        | ProblemKind::UnsupportedOpset
        | ProblemKind::UnsupportedForm
        | ProblemKind::NeedsValue(_) => UNSUPPORTED,
        ProblemKind::Malformed => "E0802-onnx-malformed",
        ProblemKind::Shape => "E0803-onnx-shape",
    };
    let place = match (&problem.node, &problem.op) {
        (Some(node), Some(op)) => format!("node `{node}` ({op}): "),
        (Some(node), None) => format!("node `{node}`: "),
        (None, _) => String::new(),
    };
    let mut diagnostic = Diagnostic::error(code, place + &problem.message).maybe_help(problem.help);
    for (name, ty) in problem.inputs {
        diagnostic = diagnostic.note(match ty {
            Some(ty) => format!("its input `{name}` is {ty}"),
            None => format!("of its input `{name}` nothing is known"),
        });
    }
    diagnostic
}

/// The file's tensors as the packer reads them.
struct Store(Arc<OnnxWeights>);

impl TensorStore for Store {
    fn describe(&self) -> String {
        self.0.file().to_string()
    }

    fn tensor(&self, name: &str) -> Option<(DType, Vec<usize>)> {
        self.0.get(name).map(|t| (t.dtype, t.shape.clone()))
    }

    fn read_f32(&self, name: &str, start: usize, out: &mut [f32]) -> Result<(), String> {
        let tensor = self.0.get(name).ok_or_else(|| format!("there is no tensor `{name}`"))?;
        let size = tensor.dtype.size_bytes();
        let end = start.checked_add(out.len()).and_then(|end| end.checked_mul(size));
        let bytes = end.and_then(|end| tensor.bytes.get(start * size..end));
        let bytes = bytes.ok_or_else(|| format!("the tensor `{name}` has fewer elements than asked for"))?;
        decode_f32(tensor.dtype, bytes, out);
        Ok(())
    }

    fn lend(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).filter(|tensor| tensor.dtype == DType::F32).map(|tensor| &tensor.bytes[..])
    }
}
