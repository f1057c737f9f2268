//! The kernel grid: layer shapes × algorithms × levels, beside what the cost model says and picks.
//!
//! `cargo bench --bench kernels [-- LEVEL|LAYER ...]` prints a line for each layer and level, and at the end every choice
//! that took more than 1.3 times as long as the best algorithm. Between runs the caches are filled with other data, as
//! in a network whose weights exceed them.

use rectify::machine::{TargetLevel, native_level};
use rectify::plan::{Algorithm, Plan};
use rectify::{Error, Model, Session, Tensor};

/// A choice this much slower than the best is a fault of the cost model.
const TOLERATED: f64 = 1.3;
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Direct, Algorithm::WinogradF2, Algorithm::WinogradF4];
const RUNS: usize = 7;

/// A 3x3 convolution of stride 1 with PReLU, among others so that it reads and writes channel blocks.
#[derive(Clone, Copy)]
struct Layer {
    size: usize,
    ins: usize,
    outs: usize,
}

impl Layer {
    fn name(self) -> String {
        format!("{0}x{0} {1}->{2}", self.size, self.ins, self.outs)
    }

    fn text(self) -> String {
        let Layer { size, ins, outs } = self;
        format!(
            "rect 1\nmodel m(x: f32[1, 4, {size}, {size}]) -> (y: f32[1, 4, {size}, {size}]) {{\n\
             x |> conv({ins}, kernel: 1) as a |> prelu as a |> conv({outs}, kernel: 3, pad: 1) as layer\n\
             |> prelu as layer |> conv(4, kernel: 1) as b\n}}\n"
        )
    }

    fn multiply_adds(self) -> f64 {
        (self.size * self.size * self.ins * self.outs * 9) as f64
    }
}

/// Layers of the networks that this compiler is for, and of others between them.
fn layers() -> Vec<Layer> {
    let square = |size, channels| Layer { size, ins: channels, outs: channels };
    let mut layers = vec![
        square(224, 64),
        Layer { size: 112, ins: 64, outs: 128 },
        square(112, 128),
        square(112, 32),
        square(64, 64),
        square(56, 64),
        square(56, 128),
        square(56, 256),
        square(28, 64),
        square(28, 128),
        square(28, 256),
        square(28, 512),
        square(14, 128),
        square(14, 256),
        square(14, 512),
        square(7, 128),
        square(7, 256),
        square(7, 512),
        Layer { size: 56, ins: 128, outs: 32 },
        Layer { size: 28, ins: 128, outs: 32 },
        Layer { size: 14, ins: 128, outs: 32 },
        Layer { size: 7, ins: 128, outs: 32 },
        Layer { size: 160, ins: 12, outs: 12 },
        Layer { size: 56, ins: 16, outs: 64 },
        Layer { size: 28, ins: 32, outs: 128 },
        Layer { size: 14, ins: 64, outs: 256 },
    ];
    layers.sort_by_key(|l| std::cmp::Reverse((l.size, l.ins, l.outs)));
    layers
}

/// The estimate and the measured milliseconds of one algorithm.
#[derive(Clone, Copy)]
struct Timed {
    algorithm: Algorithm,
    estimate: f64,
    measured: f64,
}

/// The layer's step.
fn step(plan: &Plan) -> Option<usize> {
    plan.steps.iter().position(|s| s.label == "layer" && s.multiply_adds > 0)
}

struct Bench {
    session: Session,
    input: Tensor,
    step: usize,
    times: Vec<f64>,
}

impl Bench {
    fn run(&mut self) -> Result<(), Error> {
        self.session.reset_times();
        self.session.run(&[("x", self.input.view())])?;
        self.times.push(self.session.step_times()[self.step].wall_nanos as f64 / 1e6);
        Ok(())
    }

    fn median(&self) -> f64 {
        let mut sorted = self.times.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// Measures all algorithms alternately; the first of the result is the cost model's choice.
fn measure(layer: Layer, level: TargetLevel, sweep: &mut [u64]) -> Result<Vec<Timed>, Error> {
    let model = Model::parse(&layer.text())?;
    let compiler = || model.compiler().threads(1).target(level);
    let plan = compiler().plan()?;
    let candidates = step(&plan).map(|at| plan.steps[at].candidates.clone()).unwrap_or_default();
    let mut benches = Vec::new();
    for candidate in &candidates {
        let compiled = compiler().convolutions(candidate.algorithm).compile()?;
        let plan = compiled.plan(&[])?;
        let Some(step) = step(&plan) else { continue };
        let mut session = compiled.session();
        session.set_profiling(true);
        let shape = [1, 4, layer.size, layer.size];
        let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i % 17) as f32 - 8.0).collect();
        benches.push(Bench { session, input: Tensor::new(shape, values)?, step, times: Vec::new() });
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
    let timed = benches.iter().zip(&candidates);
    Ok(timed
        .map(|(bench, c)| Timed {
            algorithm: c.algorithm,
            estimate: c.nanoseconds as f64 / 1e6,
            measured: bench.median(),
        })
        .collect())
}

fn main() -> Result<(), Error> {
    // `cargo bench` passes a flag of its own.
    let filters: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let mut levels: Vec<TargetLevel> =
        TargetLevel::ALL.into_iter().filter(|level| filters.iter().any(|f| f == level.name())).collect();
    let names: Vec<&String> = filters.iter().filter(|f| f.parse::<TargetLevel>().is_err()).collect();
    if levels.is_empty() {
        levels = [TargetLevel::X86V2, TargetLevel::X86V3, TargetLevel::X86V4]
            .into_iter()
            .filter(|level| *level <= native_level())
            .collect();
    }
    let mut sweep = vec![0u64; 8 << 20];
    let (mut slow, mut count) = (Vec::new(), 0);
    println!("milliseconds measured (estimated); the choice of the cost model is marked with *");
    for level in levels {
        for layer in layers().into_iter().filter(|l| names.iter().all(|n| l.name().contains(n.as_str()))) {
            let timed = measure(layer, level, &mut sweep)?;
            let Some(chosen) = timed.first() else { continue };
            let best = timed.iter().map(|t| t.measured).fold(f64::INFINITY, f64::min);
            let mut line = format!("{:10} {:18}", level.name().trim_start_matches("x86-64-"), layer.name());
            for algorithm in ALGORITHMS {
                let Some(t) = timed.iter().find(|t| t.algorithm == algorithm) else { continue };
                let mark = if t.algorithm == chosen.algorithm { "*" } else { " " };
                let rate = 2.0 * layer.multiply_adds() / t.measured / 1e6;
                line += &format!(
                    "  {:11}{mark}{:8.3} ({:8.3}) {rate:6.1} GFLOP/s",
                    format!("{algorithm:?}"),
                    t.measured,
                    t.estimate
                );
            }
            let ratio = chosen.measured / best;
            println!("{line}  x{ratio:.2}");
            count += 1;
            if ratio > TOLERATED {
                slow.push(format!("{} {}: x{ratio:.2}", level.name(), layer.name()));
            }
        }
    }
    println!("{} of {count} choices are more than {TOLERATED} times slower than the best", slow.len());
    slow.iter().for_each(|line| println!("  {line}"));
    Ok(())
}
