//! Contract and window kernels against naive loops, over random shapes, strides, layouts and epilogues.

use crate::common::{Call, Random, UNTOUCHED, assert_close, run_everywhere};
use rectify_ir::kernel::tiles::TileShape;
use rectify_ir::kernel::{
    Binary, ChannelPack, Contract, Descriptor, Operand, PackFormat, Program, Reg, SourceOrder, Span, Step,
    StepArgs, Store, Stream, TaskOrder, Tile, TileArgs, Unary, WeightPack, Window, WindowOp, WindowRow,
};

/// A random problem and all that the naive loops need.
struct Problem {
    kernel: Descriptor,
    args: TileArgs,
    vectors: i64,
    inputs: Vec<Vec<f32>>,
}

impl Problem {
    fn lanes(&self) -> i64 {
        i64::from(self.kernel.lanes())
    }

    fn shape(&self) -> TileShape<'_> {
        match &self.kernel {
            Descriptor::Contract(kernel) => kernel.shape(),
            Descriptor::Window(kernel) => kernel.shape(),
            _ => unreachable!("no tile kernel"),
        }
    }

    /// The arguments with every output as a pixel.
    fn single(&self) -> TileArgs {
        match &self.kernel {
            Descriptor::Window(kernel) => kernel.single(&self.args),
            _ => self.args.clone(),
        }
    }

    fn spans(&self) -> Vec<Span> {
        match &self.kernel {
            Descriptor::Window(kernel) => kernel.spans(&self.args),
            _ => self.args.spans(&self.shape()),
        }
    }

    /// Checks every output element, and that nothing else was written.
    fn check(&self) {
        let shape = self.shape();
        let args = self.args.build(&shape).expect("legal arguments");
        let (spans, single) = (self.spans(), self.single());
        let tasks = self.args.tasks(&shape);
        let got = run_everywhere(&Call {
            kernel: &self.kernel,
            args: &args,
            tasks,
            spans: &spans,
            inputs: &self.inputs,
            scratch_bytes: self.kernel.scratch_bytes(),
        });
        let mut written = vec![false; got.len()];
        let channels = self.args.channels;
        for group in 0..self.args.groups {
            for_each_index(&single.extents, &mut |pixel| {
                for channel in 0..channels {
                    let want = self.want(&single, group, pixel, channel);
                    let strided = shape.store == Store::Strided;
                    let place = place(&single.output, self.lanes(), group, pixel, channel, strided);
                    written[place] = true;
                    assert_close(got[place], want, &|| {
                        format!(
                            "group {group} pixel {pixel:?} channel {channel}\n{}\n{:?}",
                            self.kernel, self.args
                        )
                    });
                }
                if shape.store == Store::Vector {
                    for channel in channels..(channels + self.lanes() - 1) / self.lanes() * self.lanes() {
                        let place = place(&single.output, self.lanes(), group, pixel, channel, false);
                        written[place] = true;
                    }
                }
            });
        }
        for (place, _) in written.iter().enumerate().filter(|(_, written)| !**written) {
            assert_eq!(got[place], UNTOUCHED, "element {place} is not part of the output\n{}", self.kernel);
        }
    }

    fn want(&self, args: &TileArgs, group: i64, pixel: &[i64], channel: i64) -> f64 {
        let shape = self.shape();
        let offsets: Vec<i64> = match &args.steps {
            StepArgs::Table(offsets) => offsets.clone(),
            StepArgs::Linear { count, stride } => (0..*count).map(|step| step * stride).collect(),
        };
        let lanes = self.lanes();
        let width = self.vectors * lanes;
        let oc_groups = args.oc_groups(&shape);
        let packed = (group * oc_groups + channel / width) * width + channel % width;
        let mut next_input = 1;
        let weights = shape.weights.then(|| {
            next_input += 1;
            &self.inputs[next_input - 1]
        });
        let mut acc = 0.0;
        if shape.bias {
            acc = f64::from(self.inputs[next_input][packed as usize]);
            next_input += 1;
        }
        let input = &self.inputs[0];
        match &self.kernel {
            Descriptor::Contract(kernel) => {
                let start = address(&args.input, group, pixel) / 4;
                let rows = offsets.len() as i64 * i64::from(kernel.inner);
                for (step, offset) in offsets.iter().enumerate().filter(|_| kernel.dot) {
                    let row = step as i64 * i64::from(kernel.inner) + channel;
                    for lane in 0..lanes {
                        let x = input[(start + offset / 4 + lane) as usize];
                        let w = (group * oc_groups * rows + row) * lanes + lane;
                        acc += f64::from(x) * f64::from(weights.expect("weights")[w as usize]);
                    }
                }
                for row in (0..rows).filter(|_| !kernel.dot) {
                    let offset = offsets[(row / i64::from(kernel.inner)) as usize] / 4;
                    let x = input[(start + offset + row % i64::from(kernel.inner)) as usize];
                    let w = ((group * oc_groups + channel / width) * rows + row) * width + channel % width;
                    acc += f64::from(x) * f64::from(weights.expect("weights")[w as usize]);
                }
            }
            Descriptor::Window(kernel) => {
                if kernel.op == WindowOp::Max {
                    acc = f64::NEG_INFINITY;
                }
                for (tap, offset) in offsets.iter().enumerate() {
                    let start = place(&args.input, lanes, group, pixel, channel, false);
                    let x = f64::from(input[start + *offset as usize / 4]);
                    match kernel.op {
                        WindowOp::MulAdd => {
                            let block = group * oc_groups + channel / lanes;
                            let w = (block * offsets.len() as i64 + tap as i64) * lanes + channel % lanes;
                            acc += x * f64::from(weights.expect("weights")[w as usize]);
                        }
                        WindowOp::Add => acc += x,
                        WindowOp::Max if x.is_nan() || acc.is_nan() => acc = f64::NAN,
                        WindowOp::Max => acc = acc.max(x),
                    }
                }
            }
            _ => unreachable!("no tile kernel"),
        }
        let loads: Vec<f64> = shape
            .operands
            .iter()
            .zip(&args.operands)
            .zip(&self.inputs[next_input..])
            .map(|((operand, stream), values)| {
                f64::from(
                    values[match operand {
                        Operand::PerChannel => packed as usize,
                        Operand::Scalar => 0,
                        Operand::PixelScalar => {
                            let still = Stream { group: 0, block: 0, ..stream.clone() };
                            (address(&still, group, pixel) / 4) as usize
                        }
                        Operand::Pixels => place(stream, lanes, group, pixel, channel, false),
                        Operand::PixelsStrided => place(stream, lanes, group, pixel, channel, true),
                    }],
                )
            })
            .collect();
        let program = match &self.kernel {
            Descriptor::Contract(kernel) => &kernel.epilogue,
            Descriptor::Window(kernel) => &kernel.epilogue,
            _ => unreachable!("no tile kernel"),
        };
        program.evaluate(acc, &loads)
    }
}

fn address(stream: &Stream, group: i64, pixel: &[i64]) -> i64 {
    let offset: i64 = pixel.iter().zip(&stream.pixel).map(|(index, stride)| index * stride).sum();
    stream.base + group * stream.group + offset
}

/// Index of a channel's element in floats.
fn place(stream: &Stream, lanes: i64, group: i64, pixel: &[i64], channel: i64, strided: bool) -> usize {
    let lane = if strided { stream.lane } else { 4 };
    ((address(stream, group, pixel) + channel / lanes * stream.block + channel % lanes * lane) / 4) as usize
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

/// Row-major strides in bytes over `extents` with innermost stride `step`, with `gap` extra bytes per row.
fn strides(extents: &[i64], step: i64, gap: i64) -> (Vec<i64>, i64) {
    let mut strides = vec![0; extents.len()];
    let mut stride = step;
    for (dim, extent) in extents.iter().enumerate().rev() {
        strides[dim] = stride;
        stride = stride * extent + gap;
    }
    (strides, stride)
}

/// A stream over all channels of all groups; `blocked` puts channel vectors outside of the pixels.
fn stream(
    random: &mut Random,
    lanes: i64,
    extents: &[i64],
    groups: i64,
    channels: i64,
    layout: Layout,
) -> Stream {
    let gap = random.pick(&[0, 16, 32]);
    let vectors = (channels + lanes - 1) / lanes;
    let base = random.pick(&[0, 16, 48]);
    match layout {
        Layout::Blocked => {
            let (pixel, plane) = strides(extents, lanes * 4, gap);
            Stream { base, group: vectors * plane, block: plane, lane: 4, pixel }
        }
        Layout::Rows => {
            let (pixel, _) = strides(extents, groups * channels * 4, 0);
            Stream { base, group: channels * 4, block: lanes * 4, lane: 4, pixel }
        }
        Layout::Planes => {
            let (pixel, plane) = strides(extents, 4, gap);
            Stream { base, group: channels * plane, block: lanes * plane, lane: plane, pixel }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Blocked,
    Rows,
    Planes,
}

/// Epilogues over the given operands, light ones and heavy ones.
fn epilogue(random: &mut Random, operands: usize) -> Program {
    let mut program = Program::acc();
    let mut value = Reg(0);
    for k in 0..operands as u8 {
        let load = program.push(Step::Load(k));
        let op = random.pick(&[Binary::Add, Binary::Mul, Binary::Prelu, Binary::Max, Binary::Sub]);
        value = program.binary(op, value, load);
    }
    match random.below(5) {
        0 => program.unary(Unary::Sigmoid, value),
        1 => program.unary(Unary::Relu, value),
        2 => program.unary(Unary::Leaky { alpha: 0.25.into() }, value),
        3 => program.unary(Unary::Clip { min: (-0.5).into(), max: 0.5.into() }, value),
        _ => value,
    };
    program
}

fn fill(random: &mut Random, floats: usize) -> Vec<f32> {
    (0..floats).map(|_| random.float()).collect()
}

/// Buffers of the spans' lengths, from pointer 1 on, with per-channel vectors packed.
fn inputs(random: &mut Random, problem: &Problem) -> Vec<Vec<f32>> {
    let spans = problem.spans();
    spans[1..].iter().map(|span| fill(random, (span.high_bytes / 4) as usize)).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Family {
    Contract,
    Dot,
    Window,
}

fn random_problem(random: &mut Random, lanes: i64, family: Family) -> Problem {
    let (window, dot) = (family == Family::Window, family == Family::Dot);
    let rank = random.between(1, 4);
    let extents: Vec<i64> = (0..rank).map(|_| random.between(1, if rank > 2 { 4 } else { 9 })).collect();
    let groups = random.pick(&[1, 1, 2, 3]);
    let store = random.pick(&[Store::Vector, Store::Vector, Store::Partial, Store::Strided]);
    let layout = match store {
        Store::Vector => Layout::Blocked,
        Store::Partial => Layout::Rows,
        Store::Strided => Layout::Planes,
    };
    let channels = match store {
        Store::Vector | Store::Partial => {
            random.between(1, 5) * lanes + random.pick(&[0, 0, 1, 2, lanes - 1])
        }
        Store::Strided => random.between(1, 3 * lanes - 1),
    };
    let channels = if dot { random.between(1, lanes - 1) } else { channels };
    let mut operands = Vec::new();
    for _ in 0..random.below(4) {
        let mut kinds = vec![Operand::PerChannel, Operand::Scalar, Operand::PixelScalar];
        kinds.push(if store == Store::Strided { Operand::PixelsStrided } else { Operand::Pixels });
        operands.push(random.pick(&kinds));
    }
    let program = epilogue(random, operands.len());
    let bias = random.below(2) == 0;
    let table = window || random.below(2) == 0;
    let (tile, inner) = if window {
        (Tile { pixels: random.between(1, 8) as u8, vectors: 1 }, 1)
    } else if dot {
        let most = (28 / channels).min(14);
        (Tile { pixels: random.between(1, most) as u8, vectors: 1 }, channels as u8)
    } else {
        let tiles: &[(u8, u8)] = match lanes {
            16 => &[(14, 2), (9, 3), (6, 4), (14, 1), (3, 8), (1, 16), (2, 1)],
            _ => &[(6, 2), (4, 3), (8, 1), (3, 3), (2, 5), (1, 8), (1, 2), (5, 2)],
        };
        let (pixels, vectors) = random.pick(tiles);
        (Tile { pixels, vectors }, random.pick(&[1, 1, lanes as u8, lanes as u8, 3]))
    };
    let (pixel, image) = strides(&extents, random.pick(&[4, 16, 4 * lanes]), random.pick(&[0, 16]));
    let count = random.between(1, 11);
    let steps = if table {
        StepArgs::Table((0..count).map(|_| random.between(0, 20) * 4).collect())
    } else {
        StepArgs::Linear { count, stride: random.between(1, 6) * 4 }
    };
    let input = if window {
        Stream { group: 2 * image, block: image, ..Stream { base: 16, pixel, ..Stream::default() } }
    } else {
        Stream { base: 8, group: image, pixel, ..Stream::default() }
    };
    let streaming = operands.iter().any(|operand: &Operand| operand.is_stream());
    let row = (window && store == Store::Vector && !streaming && random.below(3) > 0).then(|| WindowRow {
        outputs: random.between(2, 8) as u8,
        taps: random.between(1, 5) as u8,
        stride: random.between(1, 3) as u8,
        dilation: random.between(1, 2) as u8,
    });
    let run = row.map_or(1, |row| i64::from(row.outputs));
    let mut outputs = extents.clone();
    outputs[rank as usize - 1] *= run;
    let mut output = stream(random, lanes, &outputs, groups, channels, layout);
    output.pixel[rank as usize - 1] *= run;
    let streams = operands
        .iter()
        .map(|operand| match operand {
            Operand::PixelScalar => stream(random, lanes, &extents, 1, 1, Layout::Planes),
            Operand::Pixels | Operand::PixelsStrided => {
                stream(random, lanes, &extents, groups, channels, layout)
            }
            Operand::PerChannel | Operand::Scalar => Stream::default(),
        })
        .collect();
    let pixels: i64 = extents.iter().product();
    let args = TileArgs {
        groups,
        channels,
        strip: random.between(1, pixels + 3),
        extents,
        order: random.pick(&[TaskOrder::StripMajor, TaskOrder::ChannelMajor]),
        input,
        output,
        operands: streams,
        steps,
    };
    let kernel = if window {
        let op = random.pick(&[WindowOp::MulAdd, WindowOp::Max, WindowOp::Add]);
        Descriptor::Window(Window {
            lanes: lanes as u8,
            pixels: if row.is_some() { tile.pixels.min(2) } else { tile.pixels },
            rank: rank as u8,
            op,
            row,
            bias: bias && op != WindowOp::Max,
            store,
            operands,
            epilogue: program,
        })
    } else {
        Descriptor::Contract(Contract {
            lanes: lanes as u8,
            tile,
            rank: rank as u8,
            table,
            inner,
            dot,
            bias,
            store,
            operands,
            epilogue: program,
        })
    };
    let mut problem = Problem { kernel, args, vectors: i64::from(tile.vectors), inputs: Vec::new() };
    problem.inputs = inputs(random, &problem);
    problem
}

#[test]
fn random_contracts() {
    for lanes in [4, 8, 16] {
        let mut random = Random(1);
        for _ in 0..150 {
            random_problem(&mut random, lanes, Family::Contract).check();
        }
    }
}

#[test]
fn random_dot_products() {
    for lanes in [4, 8, 16] {
        let mut random = Random(4);
        for _ in 0..100 {
            random_problem(&mut random, lanes, Family::Dot).check();
        }
    }
}

#[test]
fn random_windows() {
    for lanes in [4, 8, 16] {
        let mut random = Random(2);
        for _ in 0..250 {
            random_problem(&mut random, lanes, Family::Window).check();
        }
    }
}

/// A whole convolution through the pack formats: blocked layout, halo, uneven channels, PReLU and residual.
#[test]
fn packed_convolution_with_residual() {
    let (inputs, outputs, map, size) = (6usize, 10usize, 5usize, 3usize);
    let (in_blocks, out_blocks, wide) = (inputs.div_ceil(4), outputs.div_ceil(4), map + 2);
    let mut random = Random(3);
    let x = fill(&mut random, inputs * map * map);
    let w = fill(&mut random, outputs * inputs * size * size);
    let bias = fill(&mut random, outputs);
    let slope = fill(&mut random, outputs);
    let residual = fill(&mut random, out_blocks * map * map * 4);
    let mut blocked = vec![0.0; in_blocks * wide * wide * 4];
    for (index, &value) in x.iter().enumerate() {
        let (channel, y, column) = (index / (map * map), index / map % map, index % map);
        blocked[((channel / 4 * wide + y + 1) * wide + column + 1) * 4 + channel % 4] = value;
    }
    let tile = Tile { pixels: 6, vectors: 2 };
    let weights = PackFormat::Weights(WeightPack {
        groups: 1,
        out_channels: outputs as u32,
        in_channels: inputs as u32,
        source_taps: 9,
        taps: (0..9).collect(),
        order: SourceOrder::OutInTap,
        lanes: 4,
        vectors: 2,
        inner: 4,
    });
    let per_channel =
        PackFormat::Channels(ChannelPack { groups: 1, channels: outputs as u32, width: 8, broadcast: false });
    let mut epilogue = Program::acc();
    let skip = epilogue.push(Step::Load(1));
    let sum = epilogue.binary(Binary::Add, Reg(0), skip);
    let slopes = epilogue.push(Step::Load(0));
    epilogue.binary(Binary::Prelu, sum, slopes);
    let kernel = Contract {
        lanes: 4,
        tile,
        rank: 2,
        table: true,
        inner: 4,
        dot: false,
        bias: true,
        store: Store::Vector,
        operands: vec![Operand::PerChannel, Operand::Pixels],
        epilogue,
    };
    let row = |width: usize| vec![width as i64 * 16, 16];
    let plane = (wide * wide * 16) as i64;
    let output = Stream { block: (map * map * 16) as i64, pixel: row(map), ..Stream::default() };
    let args = TileArgs {
        groups: 1,
        channels: outputs as i64,
        extents: vec![map as i64; 2],
        strip: 11,
        order: TaskOrder::StripMajor,
        input: Stream { pixel: row(wide), ..Stream::default() },
        operands: vec![Stream::default(), output.clone()],
        output,
        steps: StepArgs::Table(
            (0..in_blocks * 9)
                .map(|step| (step / 9) as i64 * plane + ((step % 9 / 3 * wide + step % 3) * 16) as i64)
                .collect(),
        ),
    };
    let shape = kernel.shape();
    let block = args.build(&shape).expect("legal arguments");
    let spans = args.spans(&shape);
    let buffers =
        [blocked, weights.pack(&w), per_channel.pack(&bias), per_channel.pack(&slope), residual.clone()];
    let descriptor = Descriptor::Contract(kernel.clone());
    let tasks = args.tasks(&shape);
    let got = run_everywhere(&Call {
        kernel: &descriptor,
        args: &block,
        tasks,
        spans: &spans,
        inputs: &buffers,
        scratch_bytes: descriptor.scratch_bytes(),
    });
    for channel in 0..out_blocks * 4 {
        for y in 0..map {
            for column in 0..map {
                let place = ((channel / 4 * map + y) * map + column) * 4 + channel % 4;
                if channel >= outputs {
                    continue;
                }
                let mut sum = f64::from(bias[channel]) + f64::from(residual[place]);
                for input in 0..inputs {
                    for tap in 0..9 {
                        let (sy, sx) = (y + tap / 3, column + tap % 3);
                        if (1..=map).contains(&sy) && (1..=map).contains(&sx) {
                            let value = x[(input * map + sy - 1) * map + sx - 1];
                            sum += f64::from(value) * f64::from(w[(channel * inputs + input) * 9 + tap]);
                        }
                    }
                }
                let want = if sum > 0.0 { sum } else { sum * f64::from(slope[channel]) };
                assert_close(got[place], want, &|| format!("channel {channel} at {y}, {column}"));
            }
        }
    }
}
