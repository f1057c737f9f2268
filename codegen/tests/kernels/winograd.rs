//! Winograd kernels against naive convolutions: edges, images, channel tails, epilogues, blocks and parts.

use crate::common::{Call, Random, UNTOUCHED, run_everywhere};
use rectify_ir::kernel::{
    Binary, ChannelPack, Descriptor, Operand, PackFormat, Picked, Program, Reg, Step, Stream, Tile, Unary,
    Winograd, WinogradArgs, WinogradPack,
};

struct Problem {
    kernel: Winograd,
    args: WinogradArgs,
    /// Plain NCHW input with its border, weights `[out, in, 3, 3]`.
    x: Vec<f32>,
    w: Vec<f32>,
    /// Packed inputs from pointer 1 on.
    inputs: Vec<Vec<f32>>,
}

fn fill(random: &mut Random, floats: usize) -> Vec<f32> {
    (0..floats).map(|_| random.float()).collect()
}

/// `[image][channel block][row][column][lane]`, padded lanes zero.
fn blocked(plain: &[f32], channels: usize, pixels: usize, lanes: usize) -> Vec<f32> {
    let images = plain.len() / (channels * pixels);
    let blocks = channels.div_ceil(lanes);
    let mut packed = vec![0.0; images * blocks * pixels * lanes];
    for image in 0..images {
        for channel in 0..channels {
            for pixel in 0..pixels {
                let to = ((image * blocks + channel / lanes) * pixels + pixel) * lanes + channel % lanes;
                packed[to] = plain[(image * channels + channel) * pixels + pixel];
            }
        }
    }
    packed
}

fn random_problem(random: &mut Random, lanes: usize, outputs: u8) -> Problem {
    let (images, rows, columns) = (random.between(1, 2), random.between(1, 11), random.between(1, 11));
    let (ins, outs) = (random.between(1, 40) as usize, random.between(1, 70) as usize);
    let tiles: &[(u8, u8)] =
        if lanes == 16 { &[(14, 2), (9, 2), (8, 3), (14, 1)] } else { &[(6, 2), (4, 3), (5, 1)] };
    let (pixels, vectors) = random.pick(tiles);
    let width = usize::from(vectors) * lanes;
    let operand_kinds = [Operand::PerChannel, Operand::Scalar, Operand::PixelScalar, Operand::Pixels];
    let operands: Vec<Operand> = (0..random.below(4)).map(|_| random.pick(&operand_kinds)).collect();
    let mut epilogue = Program::acc();
    let mut value = Reg(0);
    for k in 0..operands.len() as u8 {
        let load = epilogue.push(Step::Load(k));
        let op = random.pick(&[Binary::Add, Binary::Mul, Binary::Prelu, Binary::Max]);
        value = epilogue.binary(op, value, load);
    }
    match random.below(4) {
        0 => epilogue.unary(Unary::Sigmoid, value),
        1 => epilogue.unary(Unary::Relu, value),
        2 => epilogue.unary(Unary::Clip { min: (-0.5).into(), max: 0.5.into() }, value),
        _ => value,
    };
    let kernel = Winograd {
        lanes: lanes as u8,
        outputs,
        tile: Tile { pixels, vectors },
        bias: random.below(2) == 0,
        operands,
        epilogue,
    };
    let (in_blocks, out_blocks) = (ins.div_ceil(lanes) as i64, outs.div_ceil(lanes) as i64);
    let bytes = lanes as i64 * 4;
    let image = |blocks: i64, rows: i64, columns: i64| Stream {
        base: 0,
        group: 0,
        block: rows * columns * bytes,
        lane: 4,
        pixel: vec![blocks * rows * columns * bytes, columns * bytes, bytes],
    };
    let output = image(out_blocks, rows, columns);
    let single =
        Stream { base: 4, group: 0, block: 0, lane: 0, pixel: vec![rows * columns * 4, columns * 4, 4] };
    let streams = kernel.operands.iter().map(|operand| match operand {
        Operand::Pixels => output.clone(),
        Operand::PixelScalar => single.clone(),
        Operand::PerChannel | Operand::Scalar | Operand::PixelsStrided => Stream::default(),
    });
    let args = WinogradArgs {
        in_channels: ins as i64,
        out_channels: outs as i64,
        extents: [images, rows, columns],
        block: random.between(1, 3),
        part: random.between(1, 3),
        input: image(in_blocks, rows + 2, columns + 2),
        operands: streams.collect(),
        output,
    };
    let plane = ((rows + 2) * (columns + 2)) as usize;
    let x = fill(random, images as usize * ins * plane);
    let w = fill(random, outs * ins * 9);
    let pack = WinogradPack {
        picked: Picked::all(outs as u32),
        in_channels: ins as u32,
        outputs,
        lanes: lanes as u8,
        width: width as u32,
    };
    let mut inputs = vec![blocked(&x, ins, plane, lanes), PackFormat::Winograd(pack).pack(&w)];
    let channels = PackFormat::Channels(ChannelPack {
        groups: 1,
        channels: outs as u32,
        width: width as u32,
        broadcast: false,
    });
    if kernel.bias {
        inputs.push(channels.pack(&fill(random, outs)));
    }
    let spans = args.spans(&kernel);
    for operand in &kernel.operands {
        inputs.push(match operand {
            Operand::PerChannel => channels.pack(&fill(random, outs)),
            _ => fill(random, (spans[inputs.len() + 1].high_bytes / 4) as usize),
        });
    }
    Problem { kernel, args, x, w, inputs }
}

impl Problem {
    fn run(&self) -> Vec<f32> {
        let descriptor = Descriptor::Winograd(self.kernel.clone());
        run_everywhere(&Call {
            kernel: &descriptor,
            args: &self.args.build(&self.kernel).expect("legal arguments"),
            tasks: self.args.tasks(&self.kernel),
            spans: &self.args.spans(&self.kernel),
            inputs: &self.inputs,
            scratch_bytes: self.args.scratch_bytes(&self.kernel),
        })
    }

    /// Index in floats of a channel's element in a blocked stream.
    fn place(&self, stream: &Stream, [image, y, x]: [i64; 3], channel: i64) -> usize {
        let lanes = i64::from(self.kernel.lanes);
        let pixel = image * stream.pixel[0] + y * stream.pixel[1] + x * stream.pixel[2];
        ((stream.base + pixel + channel / lanes * stream.block) / 4 + channel % lanes) as usize
    }

    /// The sum of products alone.
    fn sum(&self, [image, y, x]: [i64; 3], channel: i64) -> f64 {
        let [_, rows, columns] = self.args.extents;
        let ins = self.args.in_channels;
        let mut sum = 0.0;
        for input in 0..ins {
            for tap in 0..9 {
                let row = (image * ins + input) * (rows + 2) + y + tap / 3;
                let value = self.x[(row * (columns + 2) + x + tap % 3) as usize];
                sum += f64::from(value) * f64::from(self.w[((channel * ins + input) * 9 + tap) as usize]);
            }
        }
        sum
    }

    fn want(&self, pixel: [i64; 3], channel: i64) -> f64 {
        let mut acc = self.sum(pixel, channel);
        let mut next = 2;
        if self.kernel.bias {
            acc += f64::from(self.inputs[next][channel as usize]);
            next += 1;
        }
        let streams = self.kernel.operands.iter().zip(&self.args.operands).zip(&self.inputs[next..]);
        let loads: Vec<f64> = streams
            .map(|((operand, stream), values)| {
                f64::from(match operand {
                    Operand::PerChannel => values[channel as usize],
                    Operand::Scalar => values[0],
                    Operand::PixelScalar => values[self.place(stream, pixel, 0)],
                    Operand::Pixels | Operand::PixelsStrided => values[self.place(stream, pixel, channel)],
                })
            })
            .collect();
        self.kernel.epilogue.evaluate(acc, &loads)
    }

    fn each_pixel(&self, mut visit: impl FnMut([i64; 3])) {
        let [images, rows, columns] = self.args.extents;
        for image in 0..images {
            for y in 0..rows {
                (0..columns).for_each(|x| visit([image, y, x]));
            }
        }
    }

    fn check(&self) {
        let got = self.run();
        let mut stored = vec![false; got.len()];
        let lanes = i64::from(self.kernel.lanes);
        self.each_pixel(|pixel| {
            for channel in 0..(self.args.out_channels + lanes - 1) / lanes * lanes {
                let place = self.place(&self.args.output, pixel, channel);
                stored[place] = true;
                if channel < self.args.out_channels {
                    let (got, want) = (f64::from(got[place]), self.want(pixel, channel));
                    // Products of weights and inputs below 1 sum to some units.
                    let close = (got - want).abs() <= 4e-5 + 1e-3 * want.abs();
                    assert!(
                        close,
                        "{got} not {want} at {pixel:?} {channel}\n{}\n{:?}",
                        self.kernel, self.args
                    );
                }
            }
        });
        for (place, value) in got.iter().enumerate().filter(|(place, _)| !stored[*place]) {
            assert_eq!(*value, UNTOUCHED, "element {place} is not part of the output\n{}", self.kernel);
        }
    }
}

#[test]
fn random_convolutions() {
    for lanes in [4, 8, 16] {
        for outputs in [2, 4] {
            let mut random = Random(5);
            for _ in 0..25 {
                random_problem(&mut random, lanes, outputs).check();
            }
        }
    }
}

/// A NaN reaches every output that its value has a part in.
#[test]
fn nan_reaches_its_outputs() {
    for outputs in [2, 4] {
        let mut random = Random(6);
        for round in 0..12 {
            let mut problem = random_problem(&mut random, 16, outputs);
            problem.kernel.operands.clear();
            problem.kernel.epilogue = Program::acc();
            problem.args.operands.clear();
            problem.inputs.truncate(2 + usize::from(problem.kernel.bias));
            let [_, rows, columns] = problem.args.extents;
            let plane = ((rows + 2) * (columns + 2)) as usize;
            let at = random.below(plane as u64 * problem.args.in_channels as u64) as usize;
            problem.x[at] = f32::NAN;
            problem.inputs[0] = blocked(&problem.x, problem.args.in_channels as usize, plane, 16);
            let got = problem.run();
            problem.each_pixel(|pixel| {
                for channel in 0..problem.args.out_channels {
                    if problem.sum(pixel, channel).is_nan() {
                        let place = problem.place(&problem.args.output, pixel, channel);
                        assert!(got[place].is_nan(), "round {round} {pixel:?} {channel}");
                    }
                }
            });
        }
    }
}

/// Rounding errors over the size of results, 128 input channels: F2 and F4 stay near the direct sum.
#[test]
fn errors_are_small() {
    for (outputs, most) in [(2, 6e-7), (4, 2e-6)] {
        let mut random = Random(7);
        let mut problem = random_problem(&mut random, 16, outputs);
        problem.kernel = Winograd {
            tile: Tile { pixels: 14, vectors: 2 },
            bias: false,
            operands: vec![],
            epilogue: Program::acc(),
            ..problem.kernel
        };
        let (ins, outs, map) = (128usize, 32usize, 12i64);
        let stream = |blocks: i64, map: i64| Stream {
            base: 0,
            group: 0,
            block: map * map * 64,
            lane: 4,
            pixel: vec![blocks * map * map * 64, map * 64, 64],
        };
        problem.args = WinogradArgs {
            in_channels: ins as i64,
            out_channels: outs as i64,
            extents: [1, map, map],
            block: 1,
            part: 1,
            input: stream(ins as i64 / 16, map + 2),
            output: stream(outs as i64 / 16, map),
            operands: vec![],
        };
        let plane = ((map + 2) * (map + 2)) as usize;
        problem.x = fill(&mut random, ins * plane);
        problem.w = fill(&mut random, outs * ins * 9);
        let pack = WinogradPack { picked: Picked::all(32), in_channels: 128, outputs, lanes: 16, width: 32 };
        problem.inputs =
            vec![blocked(&problem.x, ins, plane, 16), PackFormat::Winograd(pack).pack(&problem.w)];
        let got = problem.run();
        let (mut errors, mut squares) = (0.0, 0.0);
        problem.each_pixel(|pixel| {
            for channel in 0..outs as i64 {
                let want = problem.sum(pixel, channel);
                errors +=
                    (f64::from(got[problem.place(&problem.args.output, pixel, channel)]) - want).powi(2);
                squares += want * want;
            }
        });
        let relative = f64::sqrt(errors / squares);
        println!("F{outputs}: rms error {relative:.2e} of the rms result");
        assert!(relative > 0.0 && relative < most, "F{outputs}: {relative:e}");
    }
}
