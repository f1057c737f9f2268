//! Linear scan: a machine register for each interval, or a list of those that must live on the stack.

use super::liveness::Interval;
use super::machine::{Code, Inst, Kind, Reg};

/// Encoding number of a machine register of the register's kind.
pub type Place = u8;

/// The machine registers that may be given out, as bit sets.
#[derive(Clone, Copy, Debug)]
pub struct Pools {
    pub ints: u32,
    pub vectors: u32,
    pub masks: u32,
}

pub const RAX: Place = 0;
pub const RDX: Place = 2;
pub const RSP: Place = 4;
/// Registers of the arguments, in order: rdi, rsi, rdx, rcx, r8.
pub const ARGUMENTS: [Place; 5] = [7, 6, 2, 1, 8];

impl Pools {
    /// Of a level with so many vector registers; masks are the seven that can guard an operation.
    pub fn new(vectors: u32) -> Pools {
        Pools { ints: 0xffff & !(1 << RSP), vectors: ((1u64 << vectors) - 1) as u32, masks: 0xfe }
    }

    fn of(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Int => self.ints,
            Kind::Vector => self.vectors,
            Kind::Mask => self.masks,
        }
    }
}

/// The places of all registers, or the registers to spill.
pub fn allocate(code: &Code, intervals: &[Interval], pools: &Pools) -> Result<Vec<Place>, Vec<Reg>> {
    let mut scan = Scan {
        code,
        free: [pools.of(Kind::Int), pools.of(Kind::Vector), pools.of(Kind::Mask)],
        active: [Vec::new(), Vec::new(), Vec::new()],
        first_end: [u32::MAX; 3],
        places: vec![0; code.kinds.len()],
        blocked: blocked(code),
        spilled: Vec::new(),
    };
    for interval in intervals {
        scan.take(interval);
    }
    if scan.spilled.is_empty() { Ok(scan.places) } else { Err(scan.spilled) }
}

struct Scan<'a> {
    code: &'a Code,
    /// Of each kind, in the order of [`Kind`].
    free: [u32; 3],
    active: [Vec<Interval>; 3],
    /// Of each kind: no active interval ends before.
    first_end: [u32; 3],
    places: Vec<Place>,
    /// Positions that need certain integer registers for themselves, in order.
    blocked: Vec<(u32, u32)>,
    spilled: Vec<Reg>,
}

impl Scan<'_> {
    fn take(&mut self, interval: &Interval) {
        let kind = self.code.kind(interval.reg) as usize;
        if self.first_end[kind] < interval.start {
            self.expire(kind, interval.start);
        }
        let forbidden = if kind == Kind::Int as usize { self.forbidden(interval) } else { 0 };
        let choices = self.free[kind] & !forbidden;
        if choices != 0 {
            let place = self.preferred(interval, choices).unwrap_or(choices.trailing_zeros() as Place);
            self.give(kind, interval, place);
            return;
        }
        // The cheapest to spill, by cost per length, of those whose register would do, and of this one.
        let value = |interval: &Interval| {
            if self.code.tiny[interval.reg.0 as usize] {
                f32::INFINITY
            } else {
                interval.cost / (interval.end - interval.start + 1) as f32
            }
        };
        let cheapest = self.active[kind]
            .iter()
            .enumerate()
            .filter(|(_, other)| forbidden >> self.places[other.reg.0 as usize] & 1 == 0)
            .map(|(index, other)| (value(other), index))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        match cheapest {
            Some((cost, index)) if cost < value(interval) => {
                let other = self.active[kind].swap_remove(index);
                self.spilled.push(other.reg);
                let place = self.places[other.reg.0 as usize];
                self.give(kind, interval, place);
            }
            _ => self.spilled.push(interval.reg),
        }
    }

    /// Frees the registers of intervals that end before `start`.
    fn expire(&mut self, kind: usize, start: u32) {
        let (free, places) = (&mut self.free[kind], &self.places);
        let mut first_end = u32::MAX;
        self.active[kind].retain(|other| {
            let lives = other.end >= start;
            if lives {
                first_end = first_end.min(other.end);
            } else {
                *free |= 1 << places[other.reg.0 as usize];
            }
            lives
        });
        self.first_end[kind] = first_end;
    }

    fn give(&mut self, kind: usize, interval: &Interval, place: Place) {
        self.first_end[kind] = self.first_end[kind].min(interval.end);
        self.free[kind] &= !(1 << place);
        self.places[interval.reg.0 as usize] = place;
        self.active[kind].push(*interval);
    }

    /// A register that saves a move.
    fn preferred(&self, interval: &Interval, choices: u32) -> Option<Place> {
        let inst = &self.code.insts[interval.start as usize / 2];
        if let Inst::Argument { index, .. } = inst {
            let place = ARGUMENTS[*index as usize];
            return (choices >> place & 1 == 1).then_some(place);
        }
        inst.hint()
            .into_iter()
            .flatten()
            .map(|hint| self.places[hint.0 as usize])
            .find(|place| choices >> place & 1 == 1)
    }

    /// Integer registers that something inside of the interval needs.
    fn forbidden(&self, interval: &Interval) -> u32 {
        let from = self.blocked.partition_point(|&(position, _)| position <= interval.start);
        self.blocked[from..]
            .iter()
            .take_while(|&&(position, _)| position <= interval.end)
            .fold(0, |all, &(_, registers)| all | registers)
    }
}

/// Divisions work in rax and rdx; an argument's register holds it until it is fetched.
fn blocked(code: &Code) -> Vec<(u32, u32)> {
    code.insts
        .iter()
        .enumerate()
        .filter_map(|(index, inst)| match inst {
            Inst::Divide { .. } => Some((2 * index as u32, 1 << RAX | 1 << RDX)),
            Inst::Argument { index: argument, .. } => {
                Some((2 * index as u32, 1 << ARGUMENTS[*argument as usize]))
            }
            _ => None,
        })
        .collect()
}
