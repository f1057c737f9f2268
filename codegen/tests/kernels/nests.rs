//! Nest kernels against naive loops, over random ranks, strides, tables and reductions.

use crate::common::{Call, Random, UNTOUCHED, assert_close, run_everywhere};
use rectify_codegen::jit;
use rectify_ir::DType;
use rectify_ir::kernel::nest;
use rectify_ir::kernel::{
    Access, Binary, Compute, Descriptor, Nest, NestArgs, NestIndirect, NestOperand, NestStream, NestTable,
    Program, Reduce, Reg, Step, Unary, Vectorise,
};
use rectify_ir::target::{Level, Target};

struct Problem {
    nest: Nest,
    args: NestArgs,
    inputs: Vec<Vec<f32>>,
}

impl Problem {
    fn check(&self) {
        let block = self.args.build(&self.nest).expect("legal arguments");
        let spans = self.args.spans(&self.nest);
        let tasks = self.args.tasks(&self.nest);
        let kernel = Descriptor::Nest(self.nest.clone());
        let got = run_everywhere(&Call {
            kernel: &kernel,
            args: &block,
            tasks,
            spans: &spans,
            inputs: &self.inputs,
            scratch_bytes: kernel.scratch_bytes(),
        });
        let mut written = vec![false; got.len()];
        let outputs = self.nest.output_dims as usize;
        for_each_index(&self.args.extents[..outputs], &mut |index| {
            let place = place(&self.args.output, index);
            assert!(!written[place], "an output written twice: the test's strides overlap");
            written[place] = true;
            let want = self.want(index);
            assert_close(got[place], want, &|| format!("at {index:?}\n{kernel}\n{:?}", self.args));
        });
        for (place, _) in written.iter().enumerate().filter(|(_, written)| !**written) {
            assert_eq!(got[place], UNTOUCHED, "element {place} is not part of the output\n{kernel}");
        }
    }

    fn want(&self, index: &[i64]) -> f64 {
        let (body, finals) = self.inputs.split_at(self.nest.operands.len());
        let loads = |streams: &[NestStream], buffers: &[Vec<f32>], index: &[i64]| -> Vec<f64> {
            let at = |(stream, buffer): (&NestStream, &Vec<f32>)| {
                // All indirections of these tests are by the last operand.
                let place_of = |along: &NestIndirect| {
                    let index = body[body.len() - 1][place(&self.args.operands[body.len() - 1], index)];
                    nest::place(i64::from(index.to_bits() as i32), along.size) * along.stride
                };
                let offset: i64 = stream.indirect.iter().map(place_of).sum();
                f64::from(buffer[place(stream, index) + offset as usize / 4])
            };
            streams.iter().zip(buffers).map(at).collect()
        };
        let Some(reduce) = self.nest.reduce else {
            return self.nest.body.evaluate(f64::NAN, &loads(&self.args.operands, body, index));
        };
        let mut acc = match reduce {
            Reduce::Sum => 0.0,
            Reduce::Product => 1.0,
            Reduce::Max => f64::NEG_INFINITY,
            Reduce::Min => f64::INFINITY,
        };
        for_each_index(&self.args.extents[self.nest.output_dims as usize..], &mut |inner| {
            let full: Vec<i64> = index.iter().chain(inner).copied().collect();
            let value = self.nest.body.evaluate(f64::NAN, &loads(&self.args.operands, body, &full));
            acc = match reduce {
                Reduce::Sum => acc + value,
                Reduce::Product => acc * value,
                Reduce::Max => Binary::Max.evaluate(acc, value),
                Reduce::Min => Binary::Min.evaluate(acc, value),
            };
        });
        self.nest.finalize.evaluate(acc, &loads(&self.args.finals, finals, index))
    }
}

fn place(stream: &NestStream, index: &[i64]) -> usize {
    let dot = |strides: &[i64]| index.iter().zip(strides).map(|(index, stride)| index * stride).sum::<i64>();
    let tables: i64 = stream.tables.iter().map(|table| table.offsets[dot(&table.steps) as usize]).sum();
    ((stream.base + dot(&stream.strides) + tables) / 4) as usize
}

fn for_each_index(extents: &[i64], visit: &mut dyn FnMut(&[i64])) {
    let mut index = vec![0; extents.len()];
    for flat in 0..extents.iter().product::<i64>() {
        let mut rest = flat;
        for (slot, extent) in index.iter_mut().zip(extents).rev() {
            *slot = rest % extent;
            rest /= extent;
        }
        visit(&index);
    }
}

/// An operand over `extents` whose access to `vector` suits it, with its stream.
fn operand(random: &mut Random, extents: &[i64], vector: Option<usize>) -> (NestOperand, NestStream) {
    let mut access = Vec::new();
    let mut strides = Vec::new();
    for dim in 0..extents.len() {
        let class = if Some(dim) == vector {
            random.pick(&[Access::Zero, Access::One, Access::One])
        } else {
            random.pick(&[Access::Zero, Access::One, Access::Var, Access::Var])
        };
        access.push(class);
        strides.push(match class {
            Access::Zero => 0,
            Access::One => 4,
            Access::Var => random.between(0, 9) * 4,
        });
    }
    let mut operand = NestOperand { element: DType::F32, access, tables: Vec::new(), indirect: vec![] };
    let mut stream =
        NestStream { base: random.between(0, 3) * 4, strides, tables: Vec::new(), indirect: vec![] };
    for _ in 0..random.pick(&[0, 0, 1, 2]) {
        let mut mask = random.between(1, (1 << extents.len()) - 1) as u8;
        if let Some(vector) = vector.filter(|&vector| vector < extents.len()) {
            mask &= !(1 << vector);
        }
        if mask == 0 {
            continue;
        }
        let steps: Vec<i64> = (0..extents.len())
            .map(|dim| if mask >> dim & 1 == 1 { random.between(1, 3) } else { 0 })
            .collect();
        let reach: i64 = extents.iter().zip(&steps).map(|(extent, step)| (extent - 1) * step).sum();
        let offsets = (0..=reach).map(|_| random.between(0, 30) * 4).collect();
        operand.tables.push(mask);
        stream.tables.push(NestTable { steps, offsets });
    }
    (operand, stream)
}

fn body(random: &mut Random, operands: usize) -> Program {
    if operands == 0 {
        return Program::constant(0.75);
    }
    let mut program = Program::copy();
    let mut value = Reg(0);
    for k in 1..operands as u8 {
        let load = program.push(Step::Load(k));
        value =
            program.binary(random.pick(&[Binary::Add, Binary::Mul, Binary::Min, Binary::Prelu]), value, load);
    }
    match random.below(4) {
        0 => program.unary(Unary::Tanh, value),
        1 => program.unary(Unary::Abs, value),
        _ => value,
    };
    program
}

fn random_problem(random: &mut Random, lanes: u8) -> Problem {
    let output_dims = random.between(1, 4) as usize;
    let reduce_dims = random.pick(&[0, 0, 1, 2]);
    let dims = output_dims + reduce_dims;
    let mut extents: Vec<i64> = (0..dims).map(|_| random.between(1, 4)).collect();
    let vectorise = match random.below(3) {
        0 => Vectorise::No,
        1 if reduce_dims > 0 => Vectorise::Reduce,
        _ => Vectorise::Output,
    };
    // Long enough for whole unrolled rounds, whole vectors and single elements.
    let long = random.between(1, 10 * i64::from(lanes) + 1);
    match vectorise {
        Vectorise::Reduce => extents[dims - 1] = long,
        Vectorise::No | Vectorise::Output => extents[output_dims - 1] = long,
    }
    let vector = match vectorise {
        Vectorise::No => None,
        Vectorise::Output => Some(output_dims - 1),
        Vectorise::Reduce => Some(dims - 1),
    };
    // Output strides in a random order of the outer dims, the last dim adjacent or not.
    let mut order: Vec<usize> = (0..output_dims - 1).collect();
    for k in (1..order.len()).rev() {
        order.swap(k, random.below(k as u64 + 1) as usize);
    }
    let adjacent = vectorise == Vectorise::Output || random.below(2) == 0;
    let mut strides = vec![0; output_dims];
    let mut stride = if adjacent { 4 } else { 8 };
    for dim in std::iter::once(output_dims - 1).chain(order) {
        strides[dim] = stride;
        stride = stride * extents[dim] + random.pick(&[0, 4]);
    }
    let output = strides.iter().map(|&stride| if stride == 4 { Access::One } else { Access::Var }).collect();
    let output_stream =
        NestStream { base: random.between(0, 2) * 4, strides, tables: Vec::new(), indirect: vec![] };
    let (operands, streams): (Vec<_>, Vec<_>) =
        (0..random.between(i64::from(reduce_dims > 0), 3)).map(|_| operand(random, &extents, vector)).unzip();
    let reduce =
        (reduce_dims > 0).then(|| random.pick(&[Reduce::Sum, Reduce::Max, Reduce::Min, Reduce::Product]));
    let (finals, final_streams): (Vec<_>, Vec<_>) = if reduce.is_some() {
        let vector = vector.filter(|&vector| vector < output_dims);
        (0..random.below(3)).map(|_| operand(random, &extents[..output_dims], vector)).unzip()
    } else {
        (Vec::new(), Vec::new())
    };
    let mut finalize = Program::acc();
    let mut value = Reg(0);
    for k in 0..finals.len() as u8 {
        let load = finalize.push(Step::Load(k));
        value = finalize.binary(random.pick(&[Binary::Add, Binary::Mul]), value, load);
    }
    let nest = Nest {
        lanes,
        compute: Compute::F32,
        element: DType::F32,
        output_dims: output_dims as u8,
        reduce_dims: reduce_dims as u8,
        task_dims: random.between(0, output_dims as i64) as u8,
        vectorise,
        output,
        scatter: vec![],
        body: body(random, operands.len()),
        operands,
        reduce,
        finals,
        finalize,
    };
    let args = NestArgs {
        extents,
        block: random.between(1, 12),
        output: output_stream,
        operands: streams,
        finals: final_streams,
    };
    let spans = args.spans(&nest);
    let inputs =
        spans[1..].iter().map(|span| (0..span.high_bytes / 4).map(|_| random.float()).collect()).collect();
    Problem { nest, args, inputs }
}

/// Lets some operands be read at places that a further operand of integers holds.
fn with_places(random: &mut Random, problem: &mut Problem) {
    let Problem { nest, args, inputs } = problem;
    let last = nest.operands.len() as u8;
    let (mut places, mut stream) = operand(random, &args.extents, None);
    places.element = DType::I32;
    if let Some(vector) = nest.vector_dim() {
        (places.access[vector], stream.strides[vector]) = (Access::Zero, 0);
        places.tables.clear();
        stream.tables.clear();
    }
    for (k, (operand, stream)) in nest.operands.iter_mut().zip(&mut args.operands).enumerate() {
        for _ in 0..random.below(3) + u64::from(k == 0) {
            operand.indirect.push(last);
            stream
                .indirect
                .push(NestIndirect { size: random.between(1, 6), stride: random.between(0, 5) * 4 });
        }
    }
    nest.operands.push(places);
    args.operands.push(stream);
    let spans = args.spans(nest);
    let floats =
        |random: &mut Random, k: usize| (0..spans[k].high_bytes / 4).map(|_| random.float()).collect();
    *inputs = (1..spans.len()).map(|k| floats(random, k)).collect();
    let indices = spans[usize::from(last) + 1].high_bytes / 4;
    inputs[usize::from(last)] =
        (0..indices).map(|_| f32::from_bits(random.between(-9, 9) as i32 as u32)).collect();
}

#[test]
fn random_nests_with_places() {
    let mut random = Random(11);
    for _ in 0..300 {
        let mut problem = random_problem(&mut random, 4);
        if !problem.nest.operands.is_empty() {
            with_places(&mut random, &mut problem);
        }
        problem.check();
    }
}

/// Rows of three go to the rows of the output that their indices say, added to what is there.
#[test]
fn scatters_go_on_from_what_is_there() {
    let at = |access: Vec<Access>, indirect: Vec<u8>| NestOperand {
        element: DType::F32,
        access,
        tables: vec![],
        indirect,
    };
    let mut body = Program::copy();
    let update = body.push(Step::Load(1));
    body.binary(Binary::Add, Reg(0), update);
    let mut nest = Nest {
        lanes: 4,
        compute: Compute::F32,
        element: DType::F32,
        output_dims: 2,
        reduce_dims: 0,
        task_dims: 0,
        vectorise: Vectorise::Output,
        output: vec![Access::Zero, Access::One],
        scatter: vec![2],
        operands: vec![
            at(vec![Access::Zero, Access::One], vec![2]),
            at(vec![Access::Var, Access::One], vec![]),
            NestOperand { element: DType::I64, ..at(vec![Access::Var, Access::Zero], vec![]) },
        ],
        body,
        reduce: None,
        finals: vec![],
        finalize: Program::acc(),
    };
    let rows = NestStream {
        strides: vec![0, 4],
        indirect: vec![NestIndirect { size: 3, stride: 12 }],
        ..NestStream::default()
    };
    let stream = |strides: Vec<i64>| NestStream { strides, ..NestStream::default() };
    let args = NestArgs {
        extents: vec![4, 3],
        block: 1,
        output: rows.clone(),
        operands: vec![rows, stream(vec![12, 4]), stream(vec![8, 0])],
        finals: vec![],
    };
    let block = args.build(&nest).expect("legal arguments");
    let updates: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let kernels = [Level::X86V1, Level::X86V2].map(|level| {
        let target = Target::new(level);
        let kernel = jit::compile(&[&Descriptor::Nest(nest.clone())], &target, 1).expect("a legal kernel");
        let mut output = [0.5f32; 9];
        let pointer = output.as_mut_ptr().cast::<u8>();
        let indices = [2i64, -1, 0, 7];
        let pointers = [pointer, pointer, updates.as_ptr() as *mut u8, indices.as_ptr() as *mut u8];
        // Safety: the buffers have the elements of the extents, and the places are clamped to three rows.
        unsafe { kernel[0].call(&pointers, &block, 0, 1, [0u64; 8].as_mut_ptr().cast()) };
        output
    });
    assert!(kernels.iter().all(|output| *output == [6.5, 7.5, 8.5, 0.5, 0.5, 0.5, 12.5, 15.5, 18.5]));
    nest.task_dims = 1;
    assert!(nest.validate().is_err(), "places that meet are done in order");
}

#[test]
fn random_nests() {
    for lanes in [4, 8, 16] {
        let mut random = Random(7);
        for _ in 0..300 {
            random_problem(&mut random, lanes).check();
        }
    }
}

/// Integers travel through copies bit by bit, also where they look like signalling NaNs.
#[test]
fn integer_copy() {
    let nest = Nest {
        lanes: 4,
        compute: Compute::I64,
        element: DType::I32,
        output_dims: 1,
        reduce_dims: 0,
        task_dims: 1,
        vectorise: Vectorise::No,
        output: vec![Access::One],
        scatter: vec![],
        operands: vec![NestOperand {
            element: DType::I32,
            access: vec![Access::One],
            tables: vec![],
            indirect: vec![],
        }],
        body: Program::copy(),
        reduce: None,
        finals: vec![],
        finalize: Program::acc(),
    };
    let stream = NestStream { base: 0, strides: vec![4], tables: vec![], indirect: vec![] };
    let args = NestArgs {
        extents: vec![23],
        block: 10,
        output: stream.clone(),
        operands: vec![stream],
        finals: vec![],
    };
    let input: Vec<f32> = (0..23u32).map(|k| f32::from_bits(0x7f80_0001 + k)).collect();
    let kernel = rectify_codegen::jit::compile(
        &[&Descriptor::Nest(nest.clone())],
        &rectify_ir::target::Target::new(rectify_ir::target::Level::X86V3),
        1,
    )
    .expect("a legal kernel");
    let mut output = vec![0.0f32; 23];
    let pointers = [output.as_mut_ptr().cast(), input.as_ptr().cast_mut().cast()];
    let block = args.build(&nest).expect("legal arguments");
    let mut scratch = [0u64; 8];
    // Safety: both buffers have the 23 elements of the extent.
    unsafe { kernel[0].call(&pointers, &block, 0, args.tasks(&nest), scratch.as_mut_ptr().cast()) };
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&output), bits(&input));
}
