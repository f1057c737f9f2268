//! The text form of a plan: ports, memory, packs, kernels and numbered steps.

use super::{Algorithm, Args, Candidate, Place, Plan, Step};
use crate::kernel::{Descriptor, TaskOrder};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plan {} for {}", self.model, self.target.level)?;
        for (name, value) in &self.bindings {
            write!(f, " {name}={value}")?;
        }
        writeln!(f)?;
        for (kind, ports) in [("input", &self.inputs), ("output", &self.outputs)] {
            for p in ports {
                write!(f, "{kind} {}: {}{:?} in b{}", p.name, p.dtype, p.shape, p.buffer.0)?;
                for cut in &p.cuts {
                    let count = self.outputs.get(cut.count as usize).map_or("?", |p| &p.name);
                    write!(f, ", {count} along axis {}", cut.axis)?;
                }
                writeln!(f)?;
            }
        }
        writeln!(
            f,
            "arena {} bytes, at least {}; packed weights {} bytes; scratch {} bytes",
            self.arena_bytes,
            self.arena_lower_bound_bytes,
            self.weight_bytes(),
            self.scratch_bytes
        )?;
        writeln!(f, "\nbuffers:")?;
        for (i, b) in self.buffers.iter().enumerate() {
            write!(f, "  b{i}: ")?;
            match b.place {
                Place::Input(index) => write!(f, "input {index}")?,
                Place::Output(index) => write!(f, "output {index}")?,
                Place::Arena { offset_bytes } => write!(f, "arena +{offset_bytes}")?,
                Place::Pack(pack) => write!(f, "p{}", pack.0)?,
            }
            writeln!(f, ", {} bytes, {}", b.bytes, b.about)?;
        }
        writeln!(f, "\npacks:")?;
        for (i, p) in self.packs.iter().enumerate() {
            writeln!(f, "  p{i}: {}, {} bytes, {}", p.key, p.bytes, Format(&p.format))?;
        }
        writeln!(f, "\nkernels:")?;
        for (i, k) in self.kernels.iter().enumerate() {
            writeln!(f, "  k{i}: {k}")?;
        }
        writeln!(f, "\nsteps:")?;
        let total: u64 = self.steps.iter().map(|s| s.cost.flops).sum();
        for (i, step) in self.steps.iter().enumerate() {
            self.step(f, i, step, total)?;
        }
        Ok(())
    }
}

impl Plan {
    fn step(&self, f: &mut fmt::Formatter<'_>, i: usize, step: &Step, total: u64) -> fmt::Result {
        let kernel = self.kernel(step.kernel);
        write!(f, "  {}{i} {} k{}(", if step.barrier { "|" } else { " " }, step.label, step.kernel.0)?;
        for (n, p) in step.pointers.iter().enumerate() {
            let sep = if n > 0 { ", " } else { "" };
            match p.offset_bytes {
                0 => write!(f, "{sep}b{}", p.buffer.0)?,
                offset => write!(f, "{sep}b{}{offset:+}", p.buffer.0)?,
            }
        }
        write!(f, ") {}", Summary { kernel, args: &step.args })?;
        write!(f, ", {:.3} MFLOP", step.cost.flops as f64 / 1e6)?;
        if step.multiply_adds > 0 {
            write!(f, " for {:.3} MMAC", step.multiply_adds as f64 / 1e6)?;
        }
        writeln!(f, ", {:.1}%", 100.0 * step.cost.flops as f64 / total.max(1) as f64)?;
        let ms = |c: &Candidate| format!("{} {:.4} ms", c.algorithm, c.nanoseconds as f64 / 1e6);
        if let Some((chosen, others)) = step.candidates.split_first() {
            write!(f, "      {} estimated", ms(chosen))?;
            for other in others {
                match &other.refusal {
                    Some(refusal) => write!(f, ", not {}: {refusal}", other.algorithm)?,
                    None => write!(f, ", not {}: slower", ms(other))?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Extents and tasks of a call.
struct Summary<'a> {
    kernel: &'a Descriptor,
    args: &'a Args,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.args {
            Args::Tile(a) => {
                write!(f, "{:?} pixels x ", a.extents)?;
                if a.groups > 1 {
                    write!(f, "{} groups of ", a.groups)?;
                }
                write!(f, "{} channels, {} steps", a.channels, a.steps.count())?;
                let order = match a.order {
                    TaskOrder::StripMajor => "strips",
                    TaskOrder::ChannelMajor => "channels",
                };
                write!(f, ", {order} first by {}", a.strip)?;
            }
            Args::Winograd(a) => {
                write!(f, "{:?} pixels x {} channels of {}", a.extents, a.out_channels, a.in_channels)?;
                write!(f, ", {} tile groups x {} channel groups a task", a.block, a.part)?;
            }
            Args::WinogradGradient(a) => {
                write!(f, "{:?} pixels x {} channels of {}", a.extents, a.out_channels, a.in_channels)?;
                write!(f, ", {} images a slice, {} tiles at once", a.slice, a.block)?;
                write!(f, ", {} input blocks x {} channel groups a task", a.in_part, a.out_part)?;
            }
            Args::Nest(a) => write!(f, "{:?}", a.extents)?,
            Args::Sort(a) => write!(f, "{} places of {}", a.count, a.size)?,
            Args::Suppression(a) => write!(f, "{} places of {}", a.limit, a.boxes)?,
        }
        write!(f, ", {} tasks", self.args.tasks(self.kernel))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Direct => "direct",
            Algorithm::Dot => "dot",
            Algorithm::Folded => "folded",
            Algorithm::WinogradF2 => "winograd F2",
            Algorithm::WinogradF4 => "winograd F4",
        })
    }
}

struct Format<'a>(&'a crate::kernel::PackFormat);

impl fmt::Display for Format<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::kernel::PackFormat;
        match self.0 {
            PackFormat::Raw { elements } => write!(f, "raw {elements}"),
            PackFormat::Channels(p) => {
                write!(f, "channels {}x{} in {}", p.groups, p.channels, p.width)?;
                if p.broadcast { write!(f, " of one value") } else { Ok(()) }
            }
            PackFormat::Sums(p) => {
                write!(f, "sums {}x{} of {} in {}", p.rows.len(), p.columns.len(), p.elements, p.width)
            }
            PackFormat::Weights(p) => write!(
                f,
                "weights {}x[{}, {}, {} of {} taps] {:?} in {}x{} by {}",
                p.groups,
                p.out_channels,
                p.in_channels,
                p.taps.len(),
                p.source_taps,
                p.order,
                p.vectors,
                p.lanes,
                p.inner
            ),
            PackFormat::Winograd(p) => write!(
                f,
                "winograd F{} [{}, {}] in {} by {}",
                p.outputs, p.picked.count, p.in_channels, p.width, p.lanes
            ),
        }
    }
}
