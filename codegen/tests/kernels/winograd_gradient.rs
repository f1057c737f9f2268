//! Gradients of weights by minimal filtering against naive sums: edges, slices, channel tails, blocks and parts.

use crate::common::{Call, Random, UNTOUCHED, run_everywhere};
use rectify_ir::kernel::{Descriptor, Stream, WinogradGradient, WinogradGradientArgs};

struct Problem {
    kernel: WinogradGradient,
    args: WinogradGradientArgs,
    /// In channel blocks; the input with its border.
    inputs: Vec<Vec<f32>>,
}

/// `[image][block][row][column][lane]`
fn stream(blocks: i64, rows: i64, columns: i64, lanes: i64) -> Stream {
    let bytes = 4 * lanes;
    let block = rows * columns * bytes;
    Stream { base: 0, group: 0, block, lane: 4, pixel: vec![blocks * block, columns * bytes, bytes] }
}

impl Problem {
    fn new(
        random: &mut Random,
        kernel: WinogradGradient,
        channels: [i64; 2],
        extents: [i64; 3],
        [slice, block, in_part, out_part]: [i64; 4],
    ) -> Problem {
        let lanes = i64::from(kernel.lanes);
        let [ins, outs] = channels;
        let [in_blocks, out_blocks] = channels.map(|n| (n + lanes - 1) / lanes);
        let [images, rows, columns] = extents;
        let args = WinogradGradientArgs {
            in_channels: ins,
            out_channels: outs,
            extents,
            slice,
            block,
            in_part,
            out_part,
            input: stream(in_blocks, rows + 2, columns + 2, lanes),
            gradient: stream(out_blocks, rows, columns, lanes),
        };
        let mut fill = |blocks: i64, pixels: i64, channels: i64| -> Vec<f32> {
            let floats = images * blocks * pixels * lanes;
            let channel = |i: i64| i / lanes / pixels % blocks * lanes + i % lanes;
            (0..floats).map(|i| if channel(i) < channels { random.float() } else { 0.0 }).collect()
        };
        let inputs =
            vec![fill(in_blocks, (rows + 2) * (columns + 2), ins), fill(out_blocks, rows * columns, outs)];
        Problem { kernel, args, inputs }
    }

    fn random(random: &mut Random, lanes: u8) -> Problem {
        let tiles: &[(u8, u8)] = match lanes {
            16 => &[(8, 2), (8, 3), (16, 1)],
            8 => &[(4, 3), (4, 2), (8, 1)],
            _ => &[(4, 2), (4, 1), (2, 3)],
        };
        let (rows, vectors) = random.pick(tiles);
        let kernel = WinogradGradient { lanes, rows, vectors };
        let width = i64::from(vectors) * i64::from(lanes);
        let outs = width * random.between(1, 3) - random.between(0, i64::from(lanes) - 1);
        let channels = [random.between(1, 40), outs];
        let extents = [random.between(1, 3), random.between(1, 9), random.between(1, 9)];
        let sizes = [1, 1, 1, 1].map(|least| random.between(least, 3));
        Problem::new(random, kernel, channels, extents, sizes)
    }

    fn run(&self) -> Vec<f32> {
        let descriptor = Descriptor::from(self.kernel);
        run_everywhere(&Call {
            kernel: &descriptor,
            args: &self.args.build(&self.kernel).expect("legal arguments"),
            tasks: self.args.tasks(&self.kernel),
            spans: &self.args.spans(&self.kernel),
            inputs: &self.inputs,
            scratch_bytes: self.args.scratch_bytes(&self.kernel),
        })
    }

    /// An element of the input or of the gradient.
    fn at(&self, input: bool, [image, y, x]: [i64; 3], channel: i64) -> f64 {
        let lanes = i64::from(self.kernel.lanes);
        let s = if input { &self.args.input } else { &self.args.gradient };
        let place = image * s.pixel[0] + y * s.pixel[1] + x * s.pixel[2] + channel / lanes * s.block;
        f64::from(self.inputs[usize::from(!input)][(place / 4 + channel % lanes) as usize])
    }

    /// One weight's gradient over a slice.
    fn want(&self, slice: i64, input: i64, tap: i64, output: i64) -> f64 {
        let [images, rows, columns] = self.args.extents;
        let first = slice * self.args.slice;
        let mut sum = 0.0;
        for image in first..(first + self.args.slice).min(images) {
            for y in 0..rows {
                for x in 0..columns {
                    sum += self.at(false, [image, y, x], output)
                        * self.at(true, [image, y + tap / 3, x + tap % 3], input);
                }
            }
        }
        sum
    }

    /// Calls `visit` with what was got and what is wanted, for all channels that exist.
    fn each(&self, got: &[f32], mut visit: impl FnMut(f64, f64)) {
        let s = self.args.sizes(&self.kernel);
        let padded = s.in_blocks * i64::from(self.kernel.lanes);
        for slice in 0..s.slices {
            for input in 0..self.args.in_channels {
                for tap in 0..9 {
                    for output in 0..self.args.out_channels {
                        let at = ((slice * padded + input) * 9 + tap) * (s.tap / 4) + output;
                        visit(f64::from(got[at as usize]), self.want(slice, input, tap, output));
                    }
                }
            }
        }
    }
}

#[test]
fn random_gradients() {
    for lanes in [4, 8, 16] {
        let mut random = Random(11);
        for _ in 0..25 {
            let problem = Problem::random(&mut random, lanes);
            let got = problem.run();
            assert!(got.iter().all(|v| *v != UNTOUCHED), "{}", problem.kernel);
            problem.each(&got, |got, want| {
                let close = (got - want).abs() <= 4e-5 + 1e-3 * want.abs();
                assert!(close, "{got} not {want}\n{}\n{:?}", problem.kernel, problem.args);
            });
        }
    }
}

/// A NaN reaches every gradient that its value has a part in, in its own slice alone.
#[test]
fn nan_reaches_its_gradients() {
    let mut random = Random(12);
    for round in 0..16 {
        let mut problem = Problem::random(&mut random, 16);
        let values = &mut problem.inputs[round % 2];
        let at = random.below(values.len() as u64) as usize;
        if values[at] != 0.0 {
            values[at] = f32::NAN;
        }
        let (got, mut wrong) = (problem.run(), 0);
        problem.each(&got, |got, want| wrong += usize::from(want.is_nan() && !got.is_nan()));
        assert_eq!(wrong, 0, "round {round}");
    }
}

/// Rounding errors over the size of results, some thousand places.
#[test]
fn errors_are_small() {
    let kernel = WinogradGradient { lanes: 16, rows: 8, vectors: 2 };
    let problem = Problem::new(&mut Random(13), kernel, [32, 32], [8, 14, 14], [8, 32, 2, 1]);
    let (mut errors, mut squares) = (0.0, 0.0);
    problem.each(&problem.run(), |got, want| {
        errors += (got - want).powi(2);
        squares += want * want;
    });
    let relative = f64::sqrt(errors / squares);
    println!("rms error {relative:.2e} of the rms result");
    assert!(relative > 0.0 && relative < 2e-6, "{relative:e}");
}
