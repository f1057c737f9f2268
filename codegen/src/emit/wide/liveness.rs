//! Live intervals: for each register the stretch of code from its first write to its last read.
//!
//! Positions count two an instruction: reads at `2 i`, writes at `2 i + 1`. An interval has no holes. A register that
//! is written before a loop and used inside lives to the loop's end; one that is first written inside does not
//! survive an iteration, which the tile IR's verifier has checked (rule 2).

use super::machine::{Access, Code, Inst, Reg};

#[derive(Clone, Copy, Debug)]
pub struct Interval {
    pub reg: Reg,
    /// Position of the first write.
    pub start: u32,
    /// Position of the last access, loops included.
    pub end: u32,
    /// Accesses, each counted by how deep in loops it stands: what a spill would cost.
    pub cost: f32,
}

/// What a loop multiplies the cost of an access with.
const LOOP_FACTOR: f32 = 16.0;

struct Loop {
    begin: u32,
    /// Registers that live to its end.
    extended: Vec<Reg>,
}

/// All intervals, by start.
pub fn intervals(code: &mut Code) -> Vec<Interval> {
    let mut found: Vec<Option<Interval>> = vec![None; code.kinds.len()];
    let mut loops: Vec<Loop> = Vec::new();
    // The outermost loop, by its begin, that a register is known to be extended over.
    let mut marked = vec![u32::MAX; code.kinds.len()];
    let mut weight = 1.0;
    for (index, inst) in code.insts.iter_mut().enumerate() {
        let position = 2 * index as u32;
        match inst {
            Inst::LoopBegin { .. } => {
                loops.push(Loop { begin: position, extended: Vec::new() });
                weight *= LOOP_FACTOR;
            }
            Inst::LoopEnd => {
                weight /= LOOP_FACTOR;
                for reg in loops.pop().map(|ended| ended.extended).unwrap_or_default() {
                    if let Some(interval) = &mut found[reg.0 as usize] {
                        interval.end = interval.end.max(position);
                    }
                }
            }
            _ => {}
        }
        inst.visit(&mut |reg, access| {
            let at = match access {
                Access::Read => position,
                Access::Write | Access::Both => position + 1,
            };
            let interval =
                found[reg.0 as usize].get_or_insert(Interval { reg: *reg, start: at, end: at, cost: 0.0 });
            interval.end = interval.end.max(at);
            interval.cost += weight;
            if let Some(outermost) = loops.iter_mut().find(|inner| inner.begin > interval.start)
                && marked[reg.0 as usize] != outermost.begin
            {
                marked[reg.0 as usize] = outermost.begin;
                outermost.extended.push(*reg);
            }
        });
    }
    let mut intervals: Vec<Interval> = found.into_iter().flatten().collect();
    intervals.sort_by_key(|interval| (interval.start, interval.reg.0));
    intervals
}
