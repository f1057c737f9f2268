//! `rectify bench`: how long compiling and running take.

use super::Outcome;
use super::args::ModelArgs;
use super::failure::Failure;
use super::inputs::InputArgs;
use super::profile::{median, step_medians};
use super::progress::Progress;
use super::table::{Table, bytes, count};
use rectify::Tensor;
use rectify::kernel::Descriptor;
use rectify::machine::{native_level, peak_gflops, peak_rss_bytes};
use rectify::plan::Plan;
use rectify::train::{Loss, Method, Optimiser, Trainer};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    /// Runs that are not counted
    #[arg(long, default_value_t = 3)]
    warmup: u32,
    /// Runs that are counted [default: as many as fit into two seconds, 5 to 100]
    #[arg(long)]
    runs: Option<u32>,
    /// Show the time, rate and share of the peak of each step
    #[arg(long)]
    per_op: bool,
    /// Measure a training step with momentum: forward pass, cross-entropy, gradients and update
    #[arg(long)]
    train: bool,
    /// Images in a training step's batch [default: 128]
    #[arg(long, value_name = "N", requires = "train", value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    batch: Option<u32>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// How long runs go on where their number is not given.
const BUDGET: Duration = Duration::from_secs(2);
const RUNS: std::ops::RangeInclusive<u32> = 5..=100;
/// Time to measure the peak rate in.
const PEAK_TIME: Duration = Duration::from_millis(100);

struct Measured {
    compile: Vec<(&'static str, Duration)>,
    times: Vec<Duration>,
    /// Milliseconds of each step.
    steps: Vec<f64>,
    plan: std::sync::Arc<Plan>,
    threads: usize,
    peak: Option<f64>,
}

pub fn run(args: &Args) -> Outcome {
    if args.runs == Some(0) {
        return Err(Failure::usage("--runs takes a number from 1 on"));
    }
    let measured = if args.train { measure_training(args)? } else { measure(args)? };
    let text = if args.json { format!("{}\n", json_report(args, &measured)) } else { human(args, &measured) };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn measure(args: &Args) -> Result<Measured, Failure> {
    let opened = args.model.open()?;
    args.model.compiler(&opened.model)?.check()?;
    let mut inputs = args.inputs.load(&opened.model.inputs(), &args.model.set, args.model.seed, |_| None)?;
    // Times and steps are those of one graph, so the values that decide on it go into the model.
    let model = opened.model.with_values(&inputs.views())?;
    inputs.keep(&model.inputs());
    let compiler = args.model.compiler(&model)?;
    let progress = Progress::spinner("compiling");
    let start = Instant::now();
    let compiled = compiler.compile()?;
    // A model with symbolic sizes gets its code here, for the sizes of the inputs.
    let sizes = compiled.sizes_of(&inputs.views())?;
    let sizes: Vec<_> = sizes.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    compiled.prepare(&sizes)?;
    let all = start.elapsed();
    let times = compiled.compile_times(&sizes)?;
    let passes: Duration = compiled.log().passes.iter().map(|p| p.time).sum();
    let ready = all.saturating_sub(passes + times.plan + times.code + times.pack);
    let compile = vec![
        ("parse", opened.parse),
        ("passes", passes),
        ("plan", times.plan),
        ("code", times.code),
        ("pack", times.pack),
        // Memory of intermediate values; threads, names and lists.
        ("ready", ready),
    ];
    drop(progress);

    let plan = compiled.plan(&sizes)?;
    let mut session = compiled.session();
    let views = inputs.views();
    let times = repeat(args, || Ok(session.run(&views).map(|_| ())?))?;
    let (mut steps, mut peak) = (Vec::new(), None);
    if args.per_op {
        // Apart from the runs above, as looking at the clock costs time too.
        steps = step_medians(times.len().min(PROFILED), || {
            session.set_profiling(true);
            session.run(&views)?;
            Ok(session.step_times())
        })?;
        peak = peak_gflops(PEAK_TIME);
    }
    Ok(Measured { compile, times, steps, plan, threads: compiled.threads(), peak })
}

/// Runs of which `--per-op` shows the medians, at most.
const PROFILED: usize = 20;
const BATCH: u32 = 128;

/// A training step on random images with labels in turn.
fn measure_training(args: &Args) -> Result<Measured, Failure> {
    let opened = args.model.open()?;
    let compiler = args.model.compiler(&opened.model)?;
    compiler.check()?;
    let batch = args.batch.unwrap_or(BATCH);
    let ports = opened.model.inputs();
    let mut sizes = args.model.set.clone();
    // The batch is the first axis.
    if let Some(name) = ports.first().and_then(|p| p.ty.shape.first()?.as_sym().map(str::to_owned))
        && !sizes.iter().any(|(n, _)| *n == name)
    {
        sizes.push((name, i64::from(batch)));
    }
    let inputs = args.inputs.load(&ports, &sizes, args.model.seed, |_| None)?;
    let [input] = &inputs.tensors[..] else {
        return Err(Failure::usage(format!(
            "a training step has one input, but the model has {}",
            ports.len()
        )));
    };
    let optimiser = Optimiser::Momentum { momentum: 0.9, decay: 5e-4 };
    let method = Method::new(Loss::CrossEntropy { smoothing: 0.0 }, optimiser);
    let progress = Progress::spinner("compiling");
    let mut trainer = Trainer::new(&compiler, &method, input.shape())?;
    drop(progress);
    let classes = trainer.classes().unwrap_or(1) as u32;
    let labels: Vec<u32> = (0..input.shape()[0] as u32).map(|i| i % classes).collect();
    let labels = Tensor::new([labels.len()], labels).map_err(rectify::Error::from)?;
    let (prepared, passes, rest) = trainer.compile_times();
    let compile = vec![
        ("parse", opened.parse),
        ("gradients", prepared),
        ("passes", passes),
        ("plan", rest.plan),
        ("code", rest.code),
        ("pack", rest.pack),
    ];
    let mut step = || Ok(trainer.step(input.view(), labels.view(), 0.01).map(|_| ())?);
    let times = repeat(args, &mut step)?;
    let (mut steps, mut peak) = (Vec::new(), None);
    if args.per_op {
        steps = step_medians(times.len().min(PROFILED), || {
            trainer.set_profiling(true);
            trainer.step(input.view(), labels.view(), 0.01)?;
            Ok(trainer.step_times())
        })?;
        peak = peak_gflops(PEAK_TIME);
    }
    Ok(Measured { compile, times, steps, plan: trainer.plan().clone(), threads: trainer.threads(), peak })
}

/// The times of runs, after those that are not counted.
fn repeat(args: &Args, mut run: impl FnMut() -> Outcome) -> Result<Vec<Duration>, Failure> {
    let progress = Progress::spinner("warming up");
    for _ in 0..args.warmup {
        run()?;
    }
    drop(progress);
    let progress = Progress::bar("running", u64::from(args.runs.unwrap_or(*RUNS.end())));
    let start = Instant::now();
    let mut times = Vec::new();
    loop {
        let begin = Instant::now();
        run()?;
        times.push(begin.elapsed());
        progress.advance(1);
        let done = times.len() as u32;
        let enough = match args.runs {
            Some(runs) => done >= runs,
            None => done >= *RUNS.end() || done >= *RUNS.start() && start.elapsed() > BUDGET,
        };
        if enough {
            return Ok(times);
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Effective rate: multiply-adds of the operations themselves, two floating-point operations each.
fn gflops(multiply_adds: u64, ms: f64) -> f64 {
    2.0 * multiply_adds as f64 / ms.max(1e-9) / 1e6
}

impl Measured {
    fn multiply_adds(&self) -> u64 {
        self.plan.steps.iter().map(|s| s.multiply_adds).sum()
    }

    fn median_ms(&self) -> f64 {
        median(self.times.iter().copied().map(ms).collect())
    }

    /// What all threads together could do at best.
    fn peak(&self) -> Option<f64> {
        self.peak.map(|p| p * self.threads as f64)
    }
}

fn json_report(args: &Args, m: &Measured) -> Value {
    let median = m.median_ms();
    let stages: serde_json::Map<_, _> =
        m.compile.iter().map(|(name, time)| ((*name).to_owned(), json!(ms(*time)))).collect();
    let mut report = json!({
        "model": m.plan.model,
        "threads": m.threads,
        "precision": args.model.precision.to_string(),
        "target": m.plan.target.level.to_string(),
        "seed": args.model.seed,
        "sizes": m.plan.bindings,
        "compile_ms": m.compile.iter().map(|(_, t)| ms(*t)).sum::<f64>(),
        "compile_stages_ms": stages,
        "times_ms": m.times.iter().map(|t| ms(*t)).collect::<Vec<_>>(),
        "median_ms": median,
        "min_ms": m.times.iter().min().map(|t| ms(*t)),
        "multiply_adds": m.multiply_adds(),
        "gflops": gflops(m.multiply_adds(), median),
        "arena_bytes": m.plan.arena_bytes,
        "arena_lower_bound_bytes": m.plan.arena_lower_bound_bytes,
        "weight_bytes": m.plan.weight_bytes(),
        "peak_rss_bytes": peak_rss_bytes(),
    });
    if args.per_op {
        let ops: Vec<_> = (0..m.plan.steps.len()).map(|step| op_json(m, step)).collect();
        report["ops"] = json!(ops);
        report["peak_gflops"] = json!(m.peak());
    }
    report
}

fn op_json(m: &Measured, step: usize) -> Value {
    let s = &m.plan.steps[step];
    let ms = m.steps[step];
    let executed = s.cost.flops as f64 / ms.max(1e-9) / 1e6;
    json!({
        "label": s.label,
        "kernel": m.plan.kernel(s.kernel).to_string(),
        "ms": ms,
        "multiply_adds": s.multiply_adds,
        "gflops": gflops(s.multiply_adds, ms),
        "share_of_peak": m.peak().map(|peak| executed / peak),
        "bytes": s.cost.bytes,
    })
}

fn human(args: &Args, m: &Measured) -> String {
    let median_ms = m.median_ms();
    let mut text = String::new();
    let total: Duration = m.compile.iter().map(|(_, t)| *t).sum();
    let stages: Vec<_> = m.compile.iter().map(|(name, t)| format!("{name} {:.1}", ms(*t))).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{} on {} threads, {}{}",
        m.plan.model,
        m.threads,
        m.plan.target.level,
        if m.plan.target.level == native_level() { "" } else { " (forced)" },
    );
    let _ = writeln!(text, "compile   {:.1} ms ({} ms)", ms(total), stages.join(", "));
    let least = m.times.iter().min().map_or(0.0, |t| ms(*t));
    let most = m.times.iter().max().map_or(0.0, |t| ms(*t));
    let _ =
        writeln!(text, "run       {median_ms:.3} ms median of {} ({least:.3} to {most:.3})", m.times.len());
    let adds = m.multiply_adds();
    if adds > 0 {
        let rate = gflops(adds, median_ms);
        let _ = writeln!(text, "rate      {rate:.1} GFLOP/s of {} multiply-adds", count(adds as f64));
    }
    let (arena, bound) = (m.plan.arena_bytes as u64, m.plan.arena_lower_bound_bytes as u64);
    let weights = m.plan.weight_bytes() as u64;
    let _ = writeln!(
        text,
        "memory    arena {} (at least {}), weights {}",
        bytes(arena),
        bytes(bound),
        bytes(weights)
    );
    if let Some(peak) = peak_rss_bytes() {
        let _ = writeln!(text, "          {} at the highest point of this process", bytes(peak));
    }
    if args.per_op {
        text.push('\n');
        text.push_str(&per_op(m));
    }
    text
}

fn per_op(m: &Measured) -> String {
    let mut table = Table::new(&["step", "kernel", ">ms", ">share", ">GFLOP/s", ">of peak", ">GB/s"]);
    let total: f64 = m.steps.iter().sum();
    for (step, &time) in m.plan.steps.iter().zip(&m.steps) {
        let executed = step.cost.flops as f64 / time.max(1e-9) / 1e6;
        let of_peak =
            m.peak().filter(|_| step.multiply_adds > 0).map(|p| format!("{:.0} %", 100.0 * executed / p));
        let rate = if step.multiply_adds > 0 {
            format!("{:.1}", gflops(step.multiply_adds, time))
        } else {
            String::new()
        };
        table.row([
            step.label.clone(),
            format!("{} k{}", family(m.plan.kernel(step.kernel)), step.kernel.0),
            format!("{time:.4}"),
            format!("{:.1} %", 100.0 * time / total.max(1e-9)),
            rate,
            of_peak.unwrap_or_default(),
            format!("{:.1}", step.cost.bytes as f64 / time.max(1e-9) / 1e6),
        ]);
    }
    let peak = m.peak().map_or_else(
        || "the peak is not known on this machine\n".to_owned(),
        |p| {
            format!(
                "peak at {}-bit vectors on {} threads: {p:.1} GFLOP/s, measured\n",
                vector_bits(),
                m.threads
            )
        },
    );
    table.render() + &peak
}

fn vector_bits() -> u32 {
    32 * u32::from(rectify::machine::target_of(native_level()).lanes)
}

fn family(kernel: &Descriptor) -> &'static str {
    match kernel {
        Descriptor::Contract(_) => "contract",
        Descriptor::Window(_) => "window",
        Descriptor::Winograd(kernel) if kernel.outputs == 2 => "winograd F2",
        Descriptor::Winograd(_) => "winograd F4",
        Descriptor::WinogradGradient(_) => "winograd gradient",
        Descriptor::Nest(_) => "nest",
        Descriptor::Sort(_) => "sort",
        Descriptor::Suppression(_) => "suppression",
    }
}
