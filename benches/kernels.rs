//! The kernel grid: layers of every family × algorithms × levels, beside what the cost model says and picks.
//!
//! `cargo bench --bench kernels [-- LEVEL|FAMILY|LAYER ...]` prints a line for each layer and level, then each family's
//! range of rates, and at the end every choice that took more than 1.3 times as long as the best algorithm that can compute
//! the layer. Between runs the caches are filled with other data, as in a network whose weights exceed them.
//! Choices that differ by less than a hundredth of a millisecond are not told apart.

use rectify::kernel::{Descriptor, WindowOp};
use rectify::machine::{TargetLevel, native_level, peak_gflops};
use rectify::plan::{Algorithm, Plan};
use rectify::{Error, Model, Session, Tensor};
use std::time::Duration;

/// A choice this much slower than the best is a fault of the cost model.
const TOLERATED: f64 = 1.3;
/// Milliseconds below which differences are those of the clock and of the caches' state.
const NOISE: f64 = 0.01;
const RUNS: usize = 7;

/// One operation with PReLU, among others so that it reads and writes what it does in a network.
struct Layer {
    family: &'static str,
    name: String,
    shape: Vec<usize>,
    body: String,
}

impl Layer {
    /// Behind a convolution, so that it reads channel blocks, and before another, so that it writes such.
    fn between(family: &'static str, name: String, size: usize, ins: usize, op: &str) -> Layer {
        let body = format!(
            "x |> conv({ins}, kernel: 1) as a |> sigmoid |> {op} as layer |> prelu as layer |> conv(4, kernel: 1) as b"
        );
        Layer { family, name, shape: vec![1, 4, size, size], body }
    }

    fn conv(family: &'static str, size: usize, ins: usize, outs: usize, rest: &str) -> Layer {
        let name = format!("{size}x{size} {ins}->{outs} {rest}");
        Layer::between(family, name, size, ins, &format!("conv({outs}, {rest})"))
    }

    /// On the model's input.
    fn stem(size: usize, ins: usize, outs: usize, rest: &str) -> Layer {
        let name = format!("{size}x{size} {ins}->{outs} {rest}");
        let body = format!("x |> conv({outs}, {rest}) as layer |> prelu as layer |> conv(4, kernel: 1) as b");
        Layer { family: "stem", name, shape: vec![1, ins, size, size], body }
    }

    /// To the model's output.
    fn last(family: &'static str, size: usize, ins: usize, op: &str) -> Layer {
        let body = format!("x |> conv({ins}, kernel: 1) as a |> sigmoid |> {op} as layer");
        Layer { family, name: format!("{size}x{size} {ins} {op}"), shape: vec![1, 4, size, size], body }
    }

    fn pool(size: usize, channels: usize, op: &str) -> Layer {
        let body =
            format!("x |> conv({channels}, kernel: 1) as a |> sigmoid |> {op} |> conv(4, kernel: 1) as b");
        Layer {
            family: "pool",
            name: format!("{size}x{size} {channels} {op}"),
            shape: vec![1, 4, size, size],
            body,
        }
    }

    fn dense(rows: usize, ins: usize, outs: usize) -> Layer {
        let body = format!("x |> dense({outs}) as layer |> prelu as layer");
        Layer { family: "dense", name: format!("{rows}x{ins}->{outs}"), shape: vec![rows, ins], body }
    }

    fn text(&self) -> String {
        let shape: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        format!("rect 1\nmodel m(x: f32[{}]) {{\n{}\n}}\n", shape.join(", "), self.body)
    }
}

/// Layers of the networks that this compiler is for, and of others between them.
fn layers() -> Vec<Layer> {
    let mut all = vec![];
    for (size, ins, outs) in [
        (224, 64, 64),
        (160, 12, 12),
        (112, 32, 32),
        (112, 64, 128),
        (112, 128, 128),
        (64, 64, 64),
        (56, 16, 64),
        (56, 64, 64),
        (56, 128, 32),
        (56, 128, 128),
        (56, 256, 256),
        (28, 32, 128),
        (28, 64, 64),
        (28, 128, 32),
        (28, 128, 128),
        (28, 256, 256),
        (28, 512, 512),
        (14, 64, 256),
        (14, 128, 32),
        (14, 128, 128),
        (14, 256, 256),
        (14, 512, 512),
        (7, 128, 32),
        (7, 128, 128),
        (7, 256, 256),
        (7, 512, 512),
    ] {
        all.push(Layer::conv("3x3", size, ins, outs, "kernel: 3, pad: 1"));
    }
    for (size, ins, outs) in [(56, 64, 128), (28, 128, 256), (14, 256, 512)] {
        all.push(Layer::conv("3x3 s2", size, ins, outs, "kernel: 3, pad: 1, stride: 2"));
    }
    for (size, ins, outs) in [
        (160, 56, 12),
        (160, 12, 56),
        (112, 32, 16),
        (112, 16, 96),
        (56, 64, 64),
        (56, 64, 256),
        (56, 256, 64),
        (56, 96, 24),
        (56, 24, 144),
        (56, 64, 128),
        (28, 128, 512),
        (28, 512, 128),
        (28, 144, 32),
        (28, 32, 192),
        (28, 256, 128),
        (14, 256, 1024),
        (14, 1024, 256),
        (14, 64, 384),
        (14, 384, 64),
        (14, 112, 672),
        (14, 672, 112),
        (13, 64, 256),
        (7, 512, 2048),
        (7, 2048, 512),
        (7, 160, 960),
        (7, 960, 160),
        (7, 320, 1280),
        (1, 1280, 320),
    ] {
        all.push(Layer::conv("1x1", size, ins, outs, "kernel: 1"));
    }
    all.push(Layer::conv("1x1", 56, 256, 512, "kernel: 1, stride: 2"));
    all.push(Layer::conv("1x1", 14, 1024, 2048, "kernel: 1, stride: 2"));
    for (size, channels) in [(112, 32), (56, 144), (28, 192), (14, 384), (14, 576), (7, 960)] {
        let rest = format!("kernel: 3, pad: 1, groups: {channels}");
        all.push(Layer::conv("depthwise", size, channels, channels, &rest));
    }
    for (size, channels) in [(112, 96), (56, 144), (28, 192), (14, 576), (13, 64)] {
        let rest = format!("kernel: 3, pad: 1, stride: 2, groups: {channels}");
        all.push(Layer::conv("depthwise", size, channels, channels, &rest));
    }
    for (size, channels, stride) in [(56, 144, 2), (28, 240, 1), (14, 480, 1), (14, 672, 2), (7, 1152, 1)] {
        let rest = format!("kernel: 5, pad: 2, stride: {stride}, groups: {channels}");
        all.push(Layer::conv("depthwise", size, channels, channels, &rest));
    }
    for (size, channels, groups) in [(56, 128, 32), (28, 256, 32), (14, 512, 32), (28, 256, 4), (14, 64, 16)]
    {
        let rest = format!("kernel: 3, pad: 1, groups: {groups}");
        all.push(Layer::conv("grouped", size, channels, channels, &rest));
    }
    for (size, ins, outs, rest) in [
        (224, 3, 32, "kernel: 3, pad: 1, stride: 2"),
        (224, 3, 64, "kernel: 3, pad: 1"),
        (224, 3, 64, "kernel: 7, pad: 3, stride: 2"),
        (224, 3, 96, "kernel: 7, pad: 3, stride: 2"),
        (112, 3, 64, "kernel: 3, pad: 1"),
        (128, 3, 64, "kernel: 9, pad: 4"),
        (160, 1, 56, "kernel: 5, pad: 2"),
        (128, 1, 64, "kernel: 9, pad: 4"),
    ] {
        all.push(Layer::stem(size, ins, outs, rest));
    }
    for (size, ins, op) in [
        (256, 64, "conv(3, kernel: 9, pad: 4)"),
        (256, 64, "conv(3, kernel: 3, pad: 1)"),
        (160, 56, "conv(1, kernel: 5, pad: 2)"),
        (160, 56, "conv(4, kernel: 1)"),
        (128, 64, "conv(2, kernel: 1)"),
        (64, 64, "conv(7, kernel: 3, pad: 1)"),
        (64, 64, "conv(12, kernel: 3, pad: 1)"),
        (64, 32, "conv(8, kernel: 1)"),
    ] {
        all.push(Layer::last("few outputs", size, ins, op));
    }
    for (size, ins, op) in [
        (160, 56, "conv_transpose(1, kernel: 9, stride: 3, pad: 3)"),
        (128, 56, "conv_transpose(1, kernel: 8, stride: 2, pad: 3)"),
        (64, 64, "conv_transpose(3, kernel: 4, stride: 2, pad: 1)"),
        (64, 64, "conv_transpose(8, kernel: 4, stride: 2, pad: 1)"),
        (56, 128, "conv_transpose(64, kernel: 2, stride: 2)"),
        (28, 256, "conv_transpose(128, kernel: 4, stride: 2, pad: 1)"),
    ] {
        all.push(Layer::last("transposed", size, ins, op));
    }
    for (rows, ins, outs) in [
        (1, 25088, 4096),
        (1, 4096, 4096),
        (1, 4096, 1000),
        (1, 2048, 1000),
        (1, 1280, 1000),
        (1, 512, 1000),
        (1, 128, 1000),
        (1, 48, 10),
        (8, 4096, 4096),
        (8, 1280, 1000),
        (8, 512, 1000),
    ] {
        all.push(Layer::dense(rows, ins, outs));
    }
    for (size, channels, op) in [
        (112, 64, "max_pool(3, stride: 2, pad: 1)"),
        (112, 64, "max_pool(2, stride: 2)"),
        (55, 64, "max_pool(3, stride: 2)"),
        (56, 128, "avg_pool(2, stride: 2)"),
        (28, 192, "avg_pool(3, stride: 1, pad: 1)"),
    ] {
        all.push(Layer::pool(size, channels, op));
    }
    all
}

/// The estimate and the measured milliseconds of one algorithm; one without a choice has no estimate.
#[derive(Clone, Copy)]
struct Timed {
    algorithm: Option<Algorithm>,
    estimate: f64,
    measured: f64,
}

/// The layer's steps: a pool has no label of its own, but is the only window without weights.
fn steps(plan: &Plan) -> Vec<usize> {
    let is_layer = |i: &usize| {
        let step = &plan.steps[*i];
        let pool = matches!(plan.kernel(step.kernel), Descriptor::Window(k) if k.op != WindowOp::MulAdd);
        step.label == "layer" || pool
    };
    (0..plan.steps.len()).filter(is_layer).collect()
}

struct Bench {
    session: Session,
    input: Tensor,
    steps: Vec<usize>,
    times: Vec<f64>,
}

impl Bench {
    fn run(&mut self) -> Result<(), Error> {
        self.session.reset_times();
        self.session.run(&[("x", self.input.view())])?;
        let times = self.session.step_times();
        self.times.push(self.steps.iter().map(|step| times[*step].wall_nanos as f64 / 1e6).sum());
        Ok(())
    }

    fn median(&self) -> f64 {
        let mut sorted = self.times.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// What was measured of a layer; the first time is that of the cost model's choice.
struct Measured {
    times: Vec<Timed>,
    multiply_adds: u64,
    /// Of the chosen kernels.
    bytes: u64,
}

/// Measures all algorithms alternately.
fn measure(layer: &Layer, level: TargetLevel, sweep: &mut [u64]) -> Result<Measured, Error> {
    let model = Model::parse(&layer.text())?;
    let compiler = || model.compiler().threads(1).target(level);
    let plan = compiler().plan()?;
    let at = steps(&plan);
    let candidates = at.iter().map(|step| &plan.steps[*step].candidates).find(|list| !list.is_empty());
    let mut compared: Vec<(Option<Algorithm>, u64)> =
        candidates.into_iter().flatten().map(|c| (Some(c.algorithm), c.nanoseconds)).collect();
    if compared.is_empty() {
        compared.push((None, 0));
    }
    let mut benches = Vec::new();
    for (algorithm, _) in &compared {
        let compiler = algorithm.map_or_else(compiler, |algorithm| compiler().convolutions(algorithm));
        let compiled = compiler.compile()?;
        let steps = steps(&*compiled.plan(&[])?);
        let mut session = compiled.session();
        session.set_profiling(true);
        let values = (0..layer.shape.iter().product()).map(|i: usize| (i % 17) as f32 - 8.0).collect();
        let input = Tensor::new(layer.shape.clone(), values)?;
        benches.push(Bench { session, input, steps, times: Vec::new() });
    }
    for round in 0..=RUNS {
        for bench in &mut benches {
            sweep.iter_mut().for_each(|word| *word = word.wrapping_add(1));
            bench.run()?;
            if round == 0 {
                bench.times.clear();
            }
        }
    }
    let timed = benches.iter().zip(&compared).map(|(bench, (algorithm, nanoseconds))| Timed {
        algorithm: *algorithm,
        estimate: *nanoseconds as f64 / 1e6,
        measured: bench.median(),
    });
    Ok(Measured {
        times: timed.collect(),
        multiply_adds: at.iter().map(|step| plan.steps[*step].multiply_adds).sum(),
        bytes: at.iter().map(|step| plan.steps[*step].cost.bytes).sum(),
    })
}

/// Least and greatest rate of the chosen algorithms of a family, and their number.
struct Range {
    family: &'static str,
    unit: &'static str,
    rates: Vec<f64>,
}

fn main() -> Result<(), Error> {
    // `cargo bench` passes a flag of its own.
    let filters: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let mut levels: Vec<TargetLevel> =
        TargetLevel::ALL.into_iter().filter(|level| filters.iter().any(|f| f == level.name())).collect();
    let names: Vec<&String> = filters.iter().filter(|f| f.parse::<TargetLevel>().is_err()).collect();
    if levels.is_empty() {
        levels = [TargetLevel::X86V1, TargetLevel::X86V2, TargetLevel::X86V3, TargetLevel::X86V4]
            .into_iter()
            .filter(|level| *level <= native_level())
            .collect();
    }
    let mut sweep = vec![0u64; 8 << 20];
    let (mut slow, mut count) = (Vec::new(), 0);
    if let Some(peak) = peak_gflops(Duration::from_millis(200)) {
        println!("peak of one thread at the widest vectors: {peak:.0} GFLOP/s");
    }
    println!("milliseconds measured (estimated); the choice of the cost model is marked with *");
    for level in levels {
        let mut ranges: Vec<Range> = vec![];
        let wanted = |l: &Layer| names.iter().all(|n| l.family == n.as_str() || l.name.contains(n.as_str()));
        for layer in layers().into_iter().filter(wanted) {
            let Measured { times, multiply_adds, bytes } = measure(&layer, level, &mut sweep)?;
            let chosen = times[0];
            let best = times.iter().map(|t| t.measured).fold(f64::INFINITY, f64::min);
            let (work, unit) = match multiply_adds {
                0 => (bytes as f64, "GB/s"),
                _ => (2.0 * multiply_adds as f64, "GFLOP/s"),
            };
            let short = level.name().trim_start_matches("x86-64-");
            let mut line = format!("{short:3} {:11} {:48}", layer.family, layer.name);
            for (k, t) in times.iter().enumerate() {
                let name = t.algorithm.map(|a| format!("{a}{} ", if k == 0 { "*" } else { "" }));
                let estimate = t.algorithm.map(|_| format!(" ({:.3})", t.estimate));
                let rate = work / t.measured / 1e6;
                line += &format!(
                    "  {}{:.3}{} {rate:.1} {unit}",
                    name.unwrap_or_default(),
                    t.measured,
                    estimate.unwrap_or_default()
                );
            }
            let ratio = chosen.measured / best;
            println!("{line}  x{ratio:.2}");
            count += 1;
            if ratio > TOLERATED && chosen.measured - best > NOISE {
                slow.push(format!("{short} {} {}: x{ratio:.2}", layer.family, layer.name));
            }
            let rate = work / chosen.measured / 1e6;
            match ranges.iter_mut().find(|range| range.family == layer.family) {
                Some(range) => range.rates.push(rate),
                None => ranges.push(Range { family: layer.family, unit, rates: vec![rate] }),
            }
        }
        for Range { family, unit, mut rates } in ranges {
            rates.sort_by(f64::total_cmp);
            let (least, median, most) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
            println!(
                "{} {family}: {} layers, {least:.0} to {most:.0} {unit}, median {median:.0}",
                level.name(),
                rates.len()
            );
        }
    }
    println!("{} of {count} choices are more than {TOLERATED} times slower than the best", slow.len());
    slow.iter().for_each(|line| println!("  {line}"));
    Ok(())
}
