//! Max-pools beside those of vectors: of any element type, and the places of what they find. One nest each, which reads the
//! windows through tables; in place of elements of the padding stands one of the window's own.

use super::demand::pool_windows;
use super::layout::sizes;
use super::nest::{self, NestRequest, Ref, RefTable};
use super::storage::{Form, Halo, Home};
use super::view::{Axis, View};
use super::window::Window;
use super::{Lower, LowerError};
use rectify_ir::DType;
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Binary, PackFormat, Program, Reduce, Step};
use rectify_ir::literal::Literal;
use rectify_ir::op::PoolAttrs;

/// Integers below are floats of f32.
const WHOLE: i64 = 1 << 24;

impl Lower<'_> {
    /// The greatest element of each window, one by one.
    pub(super) fn max_pool_elements(&mut self, id: NodeId, a: &PoolAttrs) -> Result<(), LowerError> {
        let (out, label) = (self.result(id)?, self.label(id));
        let x = self.view(self.graph.node(id).operands[0]);
        let windows = pool_windows(self.graph, id, a);
        let (from, reduced) = window_elements(&x, &windows);
        let request =
            NestRequest::reduce(id, &label, &out, vec![from], Program::copy(), reduced, Reduce::Max);
        nest::emit(&mut self.draft, request)?;
        self.epilogue_in_place(id, &out)
    }

    /// The least place in the plane that holds the greatest element, then the place of the plane added.
    pub(super) fn max_pool_indices(&mut self, id: NodeId, a: &PoolAttrs) -> Result<(), LowerError> {
        let (out, label) = (self.result(id)?, self.label(id));
        let operands = self.graph.node(id).own_operands();
        let (x, y) = (self.view(operands[0]), self.view(operands[1]));
        let shape = sizes(self.graph, operands[0]);
        let windows = pool_windows(self.graph, id, a);
        let plane: i64 = shape[2..].iter().product();
        let counted = match self.held(operands[0]) {
            DType::F32 if plane <= WHOLE => DType::F32,
            d if d.is_float() => DType::F64,
            _ => DType::I64,
        };
        let (elements, reduced) = window_elements(&x, &windows);
        let mut refs = vec![elements, Ref::over(&y, &reduced)];
        let mut distance = plane;
        for (i, window) in windows.iter().enumerate() {
            distance /= shape[2 + i];
            let places = taps(window).into_iter().map(|at| at * distance).collect::<Vec<_>>();
            refs.push(self.tap_places(
                &places,
                counted,
                window,
                2 + i,
                out.axes.len() + i,
                out.axes.len() + reduced.len(),
                &out,
                &reduced,
            ));
        }
        let (halo, home) = (Halo::none(shape.len()), Home::Arena);
        let within = self.draft.typed_tensor(counted, home, &out.shape(), Form::Plain, &halo, &label)?;
        let body = place_of_greatest(windows.len());
        let request = NestRequest::reduce(id, &label, &within, refs, body, reduced, Reduce::Min);
        nest::emit(&mut self.draft, request)?;

        let planes = self.ramp(shape[0] * shape[1], DType::I64, 0, 1);
        let start = planes.reshape(&shape[..2]).ok_or_else(|| self.unsupported(id, "it has no planes"))?;
        let start = Ref::new(&start, start.align(&[0, 1], &out.shape()));
        let mut body = Program::new();
        let [place, index] = [0, 1].map(|i| body.push(Step::Load(i)));
        let size = self.number_of_plane(plane, out.axes.len());
        let plane = body.push(Step::Load(2));
        let first = body.binary(Binary::Mul, index, plane);
        body.binary(Binary::Add, place, first);
        let operands = vec![Ref::of(&within), start, size];
        nest::emit(&mut self.draft, NestRequest::map(id, &label, &out, operands, body))
    }

    /// The places that one axis adds, by window and tap.
    #[expect(clippy::too_many_arguments, reason = "the axes of one table")]
    fn tap_places(
        &mut self,
        places: &[i64],
        counted: DType,
        window: &Window,
        axis: usize,
        tap_axis: usize,
        rank: usize,
        out: &View,
        reduced: &[i64],
    ) -> Ref {
        let storage = self.numbers(places, counted);
        let mut axes: Vec<Axis> =
            out.shape().iter().chain(reduced).map(|n| Axis::broadcast(*n)).take(rank).collect();
        let element = counted.size_bytes() as i64;
        axes[axis] = Axis::plain(window.output, window.kernel * element);
        axes[tap_axis] = Axis::plain(window.kernel, element);
        Ref::new(&View { storage, base: 0, axes: vec![] }, axes)
    }

    fn number_of_plane(&mut self, plane: i64, rank: usize) -> Ref {
        let storage = self.numbers(&[plane], DType::I64);
        Ref::new(&View { storage, base: 0, axes: vec![] }, vec![Axis::broadcast(1); rank])
    }

    fn numbers(&mut self, values: &[i64], dtype: DType) -> super::storage::StorageId {
        if dtype == DType::F32 {
            let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
            return self.draft.pack_literal(&values, PackFormat::Raw { elements: values.len() as u64 });
        }
        let bytes = values.iter().flat_map(|v| match dtype {
            DType::F64 => (*v as f64).to_le_bytes(),
            _ => v.to_le_bytes(),
        });
        let bytes = bytes.collect();
        self.draft.pack_elements(&Literal { dtype, shape: vec![values.len()], bytes })
    }
}

/// The elements of all windows: axes of the result, then taps along each spatial axis, whose numbers are given too.
fn window_elements(x: &View, windows: &[Window]) -> (Ref, Vec<i64>) {
    let rank = x.axes.len();
    let mut axes = x.axes[..2].to_vec();
    axes.extend(windows.iter().map(|w| Axis::broadcast(w.output)));
    axes.extend(windows.iter().map(|w| Axis::broadcast(w.kernel)));
    let mut from = Ref::new(x, axes);
    for (i, w) in windows.iter().enumerate() {
        let offsets = taps(w).into_iter().map(|at| x.axes[2 + i].offset(at)).collect();
        from.tables.push(RefTable::new(&[2 + i, rank + i], &[w.output, w.kernel], offsets));
    }
    (from, windows.iter().map(|w| w.kernel).collect())
}

/// The places of the taps of each window of an axis. Those outside are the window's first inside; where none is, the
/// nearest.
fn taps(w: &Window) -> Vec<i64> {
    let inside = |at: &i64| (0..w.input).contains(at);
    let window = |o: i64| {
        let first = (0..w.kernel).map(|k| w.index(o, k)).find(inside);
        let place = move |k: i64| match w.index(o, k) {
            at if inside(&at) => at,
            at => first.unwrap_or(at.clamp(0, w.input - 1)),
        };
        (0..w.kernel).map(place).collect::<Vec<_>>()
    };
    (0..w.output).flat_map(window).collect()
}

/// x, y, places along each axis → their sum where x is y or NaN, else beyond all.
fn place_of_greatest(axes: usize) -> Program {
    let mut p = Program::new();
    let [x, y] = [0, 1].map(|i| p.push(Step::Load(i)));
    let mut place = p.push(Step::Load(2));
    for i in 1..axes {
        let along = p.push(Step::Load(2 + i as u8));
        place = p.binary(Binary::Add, place, along);
    }
    let beyond = p.constant_reg(2f64.powi(62));
    let number = p.binary(Binary::Eq, x, x);
    let rest = p.push(Step::Select(number, beyond, place));
    let equal = p.binary(Binary::Eq, x, y);
    p.push(Step::Select(equal, place, rest));
    p
}
