//! Pooling: windows over channel blocks, and adaptive bins by offset tables.

use super::contract::{Bias, Family, TileCall};
use super::conv::{Walk, block_stride, image_output};
use super::demand::{demand, pool_windows};
use super::layout::sizes;
use super::nest::{self, NestRequest, Ref, RefTable};
use super::operands::{Lanes, TileOperand};
use super::view::View;
use super::window::Window;
use super::{Lower, LowerError};
use rectify_ir::DType;
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Binary, Operand, PackFormat, Program, Reduce, Step, WindowOp};
use rectify_ir::op::PoolAttrs;
use rectify_ir::shape::adaptive_bin;

impl Lower<'_> {
    pub(super) fn max_pool(&mut self, id: NodeId, a: &PoolAttrs) -> Result<(), LowerError> {
        if self.held(id.into()) != DType::F32 {
            return self.max_pool_elements(id, a);
        }
        let call = self.pool_call(id, a, WindowOp::Max)?;
        self.tile_call(call)
    }

    /// The sum of each window times one over the number of its elements, which may depend on the place.
    pub(super) fn avg_pool(&mut self, id: NodeId, a: &PoolAttrs, pads_count: bool) -> Result<(), LowerError> {
        let call = self.pool_call(id, a, WindowOp::Add)?;
        let windows = pool_windows(self.graph, id, a);
        let counts: Vec<Vec<i64>> = windows.iter().map(|w| axis_counts(w, pads_count)).collect();
        let mut factors = vec![1.0f32];
        for axis in &counts {
            factors = factors.iter().flat_map(|f| axis.iter().map(move |n| f / *n as f32)).collect();
        }
        let mut program = Program::acc();
        let mut operands = vec![];
        let acc = program.result;
        if factors.iter().all(|f| *f == factors[0]) {
            let factor = program.constant_reg(factors[0].into());
            program.binary(Binary::Mul, acc, factor);
        } else {
            let format = PackFormat::Raw { elements: factors.len() as u64 };
            let storage = self.draft.pack_literal(&factors, format);
            // One factor per pixel of an image, the same for all images.
            let mut pixel = vec![];
            let mut stride = 4;
            for axis in counts.iter().rev() {
                pixel.push(stride);
                stride *= axis.len() as i64;
            }
            pixel.push(0);
            pixel.reverse();
            operands.push(TileOperand {
                kind: Operand::PixelScalar,
                storage,
                base: 0,
                lanes: Lanes { group: 0, block: 0, lane: 0, pixel },
                zero_padded: false,
                in_place: false,
            });
            let factor = program.push(Step::Load(0));
            program.binary(Binary::Mul, acc, factor);
        }
        let start = Some((program, operands));
        if let Some(fused) = self.tile_program(&call, true, start.clone())? {
            return self.emit_tile(&call, fused);
        }
        let out = call.output.view.clone();
        self.raw_tile_call(&call, start)?;
        self.epilogue_in_place(id, &out)
    }

    fn pool_call(&mut self, id: NodeId, a: &PoolAttrs, op: WindowOp) -> Result<TileCall, LowerError> {
        let Some(d) = demand(self.graph, &self.layout, id, self.lanes) else {
            return Err(self.unsupported(id, "it has no input"));
        };
        let x = self.in_form(d.value, d.form, &d.halo, d.fill)?;
        let out = self.result(id)?;
        let windows = pool_windows(self.graph, id, a);
        let Walk { input, taps, pixel } = Walk::new(&windows, &x);
        Ok(TileCall {
            node: id,
            family: Family::Window { op, input_block: block_stride(&x.axes[1]) },
            output: image_output(&out, 1, self.lanes),
            input,
            input_group: 0,
            input_pixel: pixel,
            steps: taps,
            weights: None,
            bias: Bias::None,
            multiply_adds: 0,
            candidates: vec![],
        })
    }

    /// One nest a level: the greatest element over the rows and columns of each bin. Bins of different sizes are
    /// read through tables that repeat their last element.
    pub(super) fn spp(&mut self, id: NodeId, bins: &[usize]) -> Result<(), LowerError> {
        let (graph, out, label) = (self.graph, self.result(id)?, self.label(id));
        let x = self.view(graph.node(id).operands[0]);
        let shape = sizes(graph, graph.node(id).operands[0]);
        let mut start = 0;
        for &b in bins {
            let size = b as i64;
            let cells = shape[1] * size * size;
            let level = out
                .slice(1, start, 1, cells)
                .and_then(|v| v.reshape(&[shape[0], shape[1], size, size]))
                .ok_or_else(|| self.unsupported(id, "its levels cannot be addressed"))?;
            let mut from = Ref::over(&View { axes: x.axes[..2].to_vec(), ..x.clone() }, &[]);
            let mut reduced = vec![];
            for axis in [2, 3] {
                let (offsets, most) = bin_table(&x, axis, b, shape[axis] as usize);
                from.tables.push(RefTable::new(&[axis, axis + 2], &[size, most], offsets));
                reduced.push(most);
            }
            from.axes.extend([size, size].iter().chain(&reduced).map(|n| super::view::Axis::broadcast(*n)));
            let request =
                NestRequest::reduce(id, &label, &level, vec![from], Program::copy(), reduced, Reduce::Max);
            nest::emit(&mut self.draft, request)?;
            start += cells;
        }
        self.epilogue_in_place(id, &out)
    }
}

/// Elements that each window of an axis counts.
pub(super) fn axis_counts(w: &Window, pads_count: bool) -> Vec<i64> {
    let end = w.input + if pads_count { w.after } else { 0 };
    let start = if pads_count { -w.before } else { 0 };
    let counts = |o: i64| (0..w.kernel).filter(|k| (start..end).contains(&w.index(o, *k))).count() as i64;
    (0..w.output).map(|o| counts(o).max(1)).collect()
}

/// Offsets of the elements of each bin, and how many each bin is given.
fn bin_table(x: &View, axis: usize, bins: usize, size: usize) -> (Vec<i64>, i64) {
    let ranges: Vec<(usize, usize)> = (0..bins).map(|i| adaptive_bin(i, bins, size)).collect();
    let most = ranges.iter().map(|(start, end)| end - start).max().unwrap_or(1);
    let index = |(start, end): &(usize, usize), r: usize| (start + r).min(end - 1) as i64;
    let offsets =
        ranges.iter().flat_map(|range| (0..most).map(move |r| x.axes[axis].offset(index(range, r))));
    (offsets.collect(), most as i64)
}
