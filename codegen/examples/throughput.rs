//! Throughput of the kernels on this machine, one thread: `cargo run --release -p rectify-codegen --example throughput`.
//!
//! Prints a line per layer with its share of the multiply-add peak that a bare loop reaches. An argument selects the
//! lines whose name contains it; `--asm` prints the disassembly of the first one instead. `--level x86-64-v4` measures
//! AVX-512 kernels, `x86-64-v3` AVX2 ones; without it, those of 128 bits.

use rectify_codegen::emit::{self, listing};
use rectify_codegen::jit::{self, KernelCache};
use rectify_codegen::tile::{ARGUMENTS, Builder, VectorOp, Width, build::at};
use rectify_ir::kernel::{
    Binary, Contract, Descriptor, Operand, Program, Reg, Step, StepArgs, Store, Stream, TaskOrder, Tile,
    TileArgs, Window, WindowOp,
};
use rectify_ir::target::{Level, Target};
use std::time::Instant;

/// A layer to measure: its kernel, arguments, and what one run counts for.
struct Case {
    name: String,
    kernel: Descriptor,
    args: Vec<i64>,
    tasks: i64,
    /// Floats of each buffer, in pointer order.
    buffers: Vec<usize>,
    flops: f64,
    bytes: f64,
}

fn main() {
    let mut filter = std::env::args().skip(1).collect::<Vec<_>>();
    let asm = filter.iter().position(|arg| arg == "--asm").map(|index| filter.remove(index)).is_some();
    let target = match filter.iter().position(|arg| arg == "--level") {
        None => Target::new(Level::X86V3),
        Some(index) => {
            let level: Level = filter.remove(index + 1).parse().expect("a level");
            filter.remove(index);
            Target::wide(level)
        }
    };
    let mut cases = vec![
        conv(&target, 56, 256, 256, 3, 1, false),
        conv(&target, 56, 256, 256, 3, 1, true),
        conv(&target, 112, 128, 128, 3, 1, true),
        conv(&target, 224, 64, 64, 3, 1, true),
        conv(&target, 28, 512, 512, 3, 1, true),
        conv(&target, 14, 512, 512, 3, 1, true),
        conv(&target, 7, 512, 512, 3, 1, true),
        conv(&target, 28, 128, 256, 3, 2, true),
        conv(&target, 14, 256, 512, 3, 2, true),
        conv(&target, 56, 64, 64, 1, 1, true),
        conv(&target, 56, 64, 256, 1, 1, true),
        conv(&target, 28, 512, 128, 1, 1, true),
        conv(&target, 14, 1024, 256, 1, 1, true),
        conv(&target, 7, 512, 2048, 1, 1, true),
        stem(&target, 112, 64, 7, 2),
        stem(&target, 224, 64, 3, 1),
        dense(&target, 25088, 4096),
        dense(&target, 512, 1000),
        depthwise(&target, 56, 144),
        depthwise(&target, 14, 576),
    ];
    cases.retain(|case| filter.iter().all(|part| case.name.contains(part.as_str())));
    if asm {
        if let Some(case) = cases.first() {
            print!("{}", listing::asm(&case.kernel, &target).expect("a legal kernel"));
        }
        return;
    }
    let peak = Peak::new(&target);
    let cache = KernelCache::new(target);
    for case in &cases {
        let start = Instant::now();
        let kernel = &cache.get(std::slice::from_ref(&case.kernel), 1).expect("a legal kernel")[0];
        let compile = start.elapsed().as_secs_f64() * 1e3;
        let mut buffers: Vec<Vec<f32>> = case
            .buffers
            .iter()
            .map(|&floats| (0..floats + 16).map(|k| (k * 2654435761 % 1000) as f32 / 1000.0 - 0.5).collect())
            .collect();
        let pointers: Vec<*mut u8> = buffers
            .iter_mut()
            .map(|buffer| {
                let start = buffer.as_mut_ptr().cast::<u8>();
                start.wrapping_add(start.align_offset(64))
            })
            .collect();
        let mut scratch = vec![0u64; case.kernel.scratch_bytes() / 8 + 16];
        // Small parts of the tasks alternate with the bare loop, and a good time of each counts, not the best: so both
        // meet the same clock and the same neighbours.
        let parts = case.tasks.min(256);
        let mut times = vec![Vec::new(); parts as usize];
        let mut bare = Vec::new();
        let begin = Instant::now();
        while begin.elapsed().as_secs_f64() < 1.5 {
            for (part, times) in (0..parts).zip(&mut times) {
                let (from, to) = (case.tasks * part / parts, case.tasks * (part + 1) / parts);
                let start = Instant::now();
                // Safety: the buffers have the sizes that the arguments were made for.
                unsafe { kernel.call(&pointers, &case.args, from, to, scratch.as_mut_ptr().cast()) };
                times.push(start.elapsed().as_secs_f64());
                if part % 8 == 0 {
                    bare.push(peak.seconds());
                }
            }
        }
        let best: f64 = times.iter_mut().map(|times| good(times)).sum();
        println!(
            "{:32} {:8.3} ms {:6.1} GFLOP/s {:5.1} % {:6.2} GB/s   {} bytes of code in {compile:.1} ms",
            case.name,
            best * 1e3,
            case.flops / best / 1e9,
            case.flops / best / peak.flops() * good(&mut bare) * 100.0,
            case.bytes / best / 1e9,
            kernel.code_bytes(),
        );
    }
}

/// The time that a tenth of all fall short of.
fn good(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 10]
}

fn prelu() -> Program {
    let mut program = Program::acc();
    let slope = program.push(Step::Load(0));
    program.binary(Binary::Prelu, Reg(0), slope);
    program
}

/// A convolution over a whole blocked input, with bias and PReLU; `map` is the output's.
fn conv(target: &Target, map: i64, inputs: i64, outputs: i64, size: i64, stride: i64, fused: bool) -> Case {
    let lanes = i64::from(target.lanes);
    let wide = (map - 1) * stride + size;
    let tile = Tile::choose(target, map * map, outputs);
    let kernel = Contract {
        lanes: target.lanes,
        tile,
        rank: if size == 1 { 1 } else { 2 },
        table: size > 1,
        inner: target.lanes,
        dot: false,
        bias: true,
        store: Store::Vector,
        operands: if fused { vec![Operand::PerChannel] } else { vec![] },
        epilogue: if fused { prelu() } else { Program::acc() },
    };
    let plane = wide * wide * lanes * 4;
    let mut offsets = Vec::new();
    for block in 0..inputs / lanes {
        for y in 0..size {
            for x in 0..size {
                offsets.push(block * plane + (y * wide + x) * lanes * 4);
            }
        }
    }
    let flat = size == 1;
    let pixel = |row: i64, stride: i64| {
        let step = stride * lanes * 4;
        if flat { vec![step] } else { vec![row * step, step] }
    };
    // Rows of a strip: the input of a strip should fill about a third of the second-level cache.
    let rows = (map * map * inputs * 4 / (400 << 10)).max(1);
    let args = TileArgs {
        groups: 1,
        channels: outputs,
        extents: if flat { vec![map * map] } else { vec![map, map] },
        strip: (map / rows.min(map)).max(1) * map,
        order: TaskOrder::StripMajor,
        input: Stream { pixel: pixel(wide, stride), ..Stream::default() },
        output: Stream { block: map * map * lanes * 4, pixel: pixel(map, 1), ..Stream::default() },
        operands: if fused { vec![Stream::default()] } else { vec![] },
        steps: if flat {
            StepArgs::Linear { count: inputs / lanes, stride: plane }
        } else {
            StepArgs::Table(offsets)
        },
    };
    let padded = args.oc_groups(&kernel.shape()) * i64::from(tile.vectors) * lanes;
    let mut buffers = vec![outputs * map * map, inputs * wide * wide, inputs * size * size * padded, padded];
    if fused {
        buffers.push(padded);
    }
    Case {
        name: format!(
            "conv {size}x{size}/{stride} {map}x{map} {inputs}->{outputs}{}",
            if fused { " prelu" } else { "" }
        ),
        args: args.build(&kernel.shape()).expect("legal arguments"),
        tasks: args.tasks(&kernel.shape()),
        kernel: kernel.into(),
        flops: (2 * map * map * inputs * outputs * size * size) as f64,
        bytes: 4.0 * buffers.iter().sum::<i64>() as f64,
        buffers: buffers.into_iter().map(|floats| floats as usize).collect(),
    }
}

/// The first convolution of a network: three channels, read from planes.
fn stem(target: &Target, map: i64, outputs: i64, size: i64, stride: i64) -> Case {
    let lanes = i64::from(target.lanes);
    let wide = (map - 1) * stride + size;
    let tile = Tile::choose(target, map * map, outputs);
    let kernel = Contract {
        lanes: target.lanes,
        tile,
        rank: 2,
        table: true,
        inner: 1,
        dot: false,
        bias: true,
        store: Store::Vector,
        operands: vec![Operand::PerChannel],
        epilogue: prelu(),
    };
    let taps = (0..3 * size * size)
        .map(|tap| ((tap / (size * size) * wide + tap / size % size) * wide + tap % size) * 4)
        .collect();
    let args = TileArgs {
        groups: 1,
        channels: outputs,
        extents: vec![map, map],
        strip: map * 4,
        order: TaskOrder::StripMajor,
        input: Stream { pixel: vec![stride * wide * 4, stride * 4], ..Stream::default() },
        output: Stream {
            block: map * map * lanes * 4,
            pixel: vec![map * lanes * 4, lanes * 4],
            ..Stream::default()
        },
        operands: vec![Stream::default()],
        steps: StepArgs::Table(taps),
    };
    let padded = args.oc_groups(&kernel.shape()) * i64::from(tile.vectors) * lanes;
    let buffers = [outputs * map * map, 3 * wide * wide, 3 * size * size * padded, padded, padded];
    Case {
        name: format!("stem {size}x{size}/{stride} {map}x{map} 3->{outputs}"),
        args: args.build(&kernel.shape()).expect("legal arguments"),
        tasks: args.tasks(&kernel.shape()),
        kernel: kernel.into(),
        flops: (2 * map * map * 3 * outputs * size * size) as f64,
        bytes: 4.0 * buffers.iter().sum::<i64>() as f64,
        buffers: buffers.map(|floats| floats as usize).to_vec(),
    }
}

/// A dense layer at batch 1.
fn dense(target: &Target, inputs: i64, outputs: i64) -> Case {
    let lanes = i64::from(target.lanes);
    let tile = Tile::choose(target, 1, outputs);
    let kernel = Contract {
        lanes: target.lanes,
        tile,
        rank: 1,
        table: false,
        inner: target.lanes,
        dot: false,
        bias: true,
        store: Store::Partial,
        operands: vec![Operand::PerChannel],
        epilogue: prelu(),
    };
    let args = TileArgs {
        groups: 1,
        channels: outputs,
        extents: vec![1],
        strip: 1,
        order: TaskOrder::StripMajor,
        input: Stream { pixel: vec![inputs * 4], ..Stream::default() },
        output: Stream { block: lanes * 4, pixel: vec![outputs * 4], ..Stream::default() },
        operands: vec![Stream::default()],
        steps: StepArgs::Linear { count: inputs / lanes, stride: lanes * 4 },
    };
    let padded = args.oc_groups(&kernel.shape()) * i64::from(tile.vectors) * lanes;
    Case {
        name: format!("dense {inputs}->{outputs}"),
        args: args.build(&kernel.shape()).expect("legal arguments"),
        tasks: args.tasks(&kernel.shape()),
        kernel: kernel.into(),
        flops: (2 * inputs * outputs) as f64,
        bytes: (4 * inputs * outputs) as f64,
        buffers: [outputs, inputs, inputs * padded, padded, padded].map(|floats| floats as usize).to_vec(),
    }
}

/// A 3x3 depthwise convolution with a halo of 1 and PReLU.
fn depthwise(target: &Target, map: i64, channels: i64) -> Case {
    let lanes = i64::from(target.lanes);
    let wide = map + 2;
    let kernel = Window {
        lanes: target.lanes,
        pixels: 8,
        rank: 2,
        op: WindowOp::MulAdd,
        row: None,
        bias: true,
        store: Store::Vector,
        operands: vec![Operand::PerChannel],
        epilogue: prelu(),
    };
    let pixel = |row: i64| vec![row * lanes * 4, lanes * 4];
    let args = TileArgs {
        groups: 1,
        channels,
        extents: vec![map, map],
        strip: map * map,
        order: TaskOrder::StripMajor,
        input: Stream { block: wide * wide * lanes * 4, pixel: pixel(wide), ..Stream::default() },
        output: Stream { block: map * map * lanes * 4, pixel: pixel(map), ..Stream::default() },
        operands: vec![Stream::default()],
        steps: StepArgs::Table((0..9).map(|tap| (tap / 3 * wide + tap % 3) * lanes * 4).collect()),
    };
    let buffers = [channels * map * map, channels * wide * wide, channels * 9, channels, channels];
    Case {
        name: format!("depthwise 3x3 {map}x{map} {channels}"),
        args: args.build(&kernel.shape()).expect("legal arguments"),
        tasks: args.tasks(&kernel.shape()),
        kernel: kernel.into(),
        flops: (2 * map * map * channels * 9) as f64,
        bytes: 4.0 * buffers.iter().sum::<i64>() as f64,
        buffers: buffers.map(|floats| floats as usize).to_vec(),
    }
}

/// Independent multiply-adds that touch no memory: a contraction whose operands stay in the first-level cache cannot
/// do better.
struct Peak {
    kernel: jit::Kernel,
    lanes: u8,
}

impl Peak {
    const ROUNDS: i64 = 1000;
    const SUMS: usize = 12;
    const UNROLL: usize = 4;

    fn new(target: &Target) -> Peak {
        let mut builder = Builder::new(target.lanes, true);
        let factor = builder.splat(0.999);
        let sums: Vec<_> = (0..Peak::SUMS).map(|_| builder.splat(1.0)).collect();
        builder.repeat(ARGUMENTS[3], |builder| {
            for _ in 0..Peak::UNROLL {
                for &sum in &sums {
                    builder.set_vector(sum, VectorOp::MulAdd(sum, factor, factor));
                }
            }
        });
        for &sum in &sums {
            builder.store(at(ARGUMENTS[4], 0), sum, Width::Full);
        }
        let code = emit::emit(&builder.finish(), target).expect("legal code");
        let kernel = jit::link(&[code], target).expect("code memory").remove(0);
        Peak { kernel, lanes: target.lanes }
    }

    /// Operations of one run.
    fn flops(&self) -> f64 {
        2.0 * Peak::ROUNDS as f64 * (Peak::UNROLL * Peak::SUMS) as f64 * f64::from(self.lanes)
    }

    fn seconds(&self) -> f64 {
        let mut scratch = [0f32; 16];
        let start = Instant::now();
        // Safety: the code stores a vector to the scratch and touches nothing else.
        unsafe { self.kernel.call(&[], &[], 0, Peak::ROUNDS, scratch.as_mut_ptr().cast()) };
        start.elapsed().as_secs_f64()
    }
}
