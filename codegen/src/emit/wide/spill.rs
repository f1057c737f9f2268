//! Rewriting of spilled registers: they live on the stack, and pass through registers of one instruction's life where
//! no operand can name their slot.
//!
//! Constants get no slot: they are read from among the function's constants, or set again.

use super::machine::{Access, Code, Inst, IntBinaryOp, IntSource, Reg, Slot, Source};

#[derive(Clone, Copy, Debug)]
enum Home {
    Slot(Slot),
    Constant(u32),
    Integer(i64),
}

pub fn rewrite(code: &mut Code, spilled: &[Reg]) {
    let mut homes: Vec<Option<Home>> = vec![None; code.kinds.len()];
    let constants = constants(code, spilled);
    for (&reg, constant) in spilled.iter().zip(constants) {
        homes[reg.0 as usize] = Some(constant.unwrap_or_else(|| {
            code.slots.push(code.kind(reg));
            Home::Slot(Slot(code.slots.len() as u32 - 1))
        }));
    }
    let insts = std::mem::take(&mut code.insts);
    let mut rewriter = Rewriter { code, homes };
    for inst in insts {
        rewriter.inst(inst);
    }
}

/// For each spilled register what it always holds, if its only write is a constant.
fn constants(code: &mut Code, spilled: &[Reg]) -> Vec<Option<Home>> {
    let mut writes = vec![0u32; code.kinds.len()];
    let mut values = vec![None; code.kinds.len()];
    for inst in &mut code.insts {
        let value = match inst {
            Inst::Load { from: Source::Constant(bits), .. } => Some(Home::Constant(*bits)),
            Inst::Set { value, .. } => Some(Home::Integer(*value)),
            _ => None,
        };
        inst.visit(&mut |reg, access| match access {
            Access::Read => {}
            Access::Write | Access::Both => {
                writes[reg.0 as usize] += 1;
                values[reg.0 as usize] = value;
            }
        });
    }
    let single = |reg: &Reg| values[reg.0 as usize].filter(|_| writes[reg.0 as usize] == 1);
    spilled.iter().map(single).collect()
}

struct Rewriter<'a> {
    code: &'a mut Code,
    homes: Vec<Option<Home>>,
}

impl Rewriter<'_> {
    fn home(&self, reg: Reg) -> Option<Home> {
        self.homes.get(reg.0 as usize).copied().flatten()
    }

    fn slot(&self, reg: Reg) -> Option<Slot> {
        match self.home(reg) {
            Some(Home::Slot(slot)) => Some(slot),
            Some(Home::Constant(_) | Home::Integer(_)) | None => None,
        }
    }

    fn inst(&mut self, inst: Inst) {
        let mut inst = self.simplified(inst);
        if let Inst::Load { to, from: Source::Constant(_) } | Inst::Set { to, .. } = &inst
            && matches!(self.home(*to), Some(Home::Constant(_) | Home::Integer(_)))
        {
            // The only write of a constant that needs no register any more.
            return;
        }
        self.fold(&mut inst);
        let mut passing: Vec<(Reg, Reg, bool, bool)> = Vec::new();
        let homes = &self.homes;
        let code = &mut *self.code;
        inst.visit(&mut |reg, access| {
            if homes.get(reg.0 as usize).copied().flatten().is_none() {
                return;
            }
            let reads = access != Access::Write;
            let writes = access != Access::Read;
            match passing.iter_mut().find(|(spilled, ..)| spilled == reg) {
                Some((_, tiny, _, written)) => {
                    *written |= writes;
                    *reg = *tiny;
                }
                None => {
                    let tiny = code.reg(code.kind(*reg));
                    code.tiny[tiny.0 as usize] = true;
                    passing.push((*reg, tiny, reads, writes));
                    *reg = tiny;
                }
            }
        });
        for &(spilled, to, read, _) in &passing {
            if read {
                let reload = match self.home(spilled) {
                    Some(Home::Slot(from)) => Inst::Reload { to, from },
                    Some(Home::Constant(bits)) => Inst::Load { to, from: Source::Constant(bits) },
                    Some(Home::Integer(value)) => Inst::Set { to, value },
                    None => continue,
                };
                self.code.insts.push(reload);
            }
        }
        self.code.insts.push(inst);
        for &(spilled, value, _, written) in &passing {
            if let (true, Some(to)) = (written, self.slot(spilled)) {
                self.code.insts.push(Inst::Spill { to, value });
            }
        }
    }

    /// Forms that need no register at all.
    fn simplified(&self, inst: Inst) -> Inst {
        match inst {
            Inst::Copy { to, from } => match (self.slot(to), self.home(from)) {
                (Some(to), None) => Inst::Spill { to, value: from },
                (None, Some(Home::Slot(from))) => Inst::Reload { to, from },
                (None, Some(Home::Integer(value))) => Inst::Set { to, value },
                _ => inst,
            },
            Inst::Load { to, from: Source::Reg(from) } => match (self.slot(to), self.home(from)) {
                (Some(to), None) => Inst::Spill { to, value: from },
                (None, Some(Home::Slot(from))) => Inst::Reload { to, from },
                _ => inst,
            },
            Inst::IntBinary { op: IntBinaryOp::Add, to, a, b: IntSource::Constant(value) } if to == a => {
                self.slot(to).map_or(inst, |slot| Inst::AddToSlot { slot, value })
            }
            Inst::CountDown { counter, to } => {
                self.slot(counter).map_or(inst, |counter| Inst::CountDownSlot { counter, to })
            }
            _ => inst,
        }
    }

    /// Turns one read operand into a memory operand.
    fn fold(&self, inst: &mut Inst) {
        let memory = |source: &mut Source| {
            let Source::Reg(reg) = source else { return };
            *source = match self.home(*reg) {
                Some(Home::Slot(slot)) => Source::Slot(slot),
                Some(Home::Constant(bits)) => Source::Constant(bits),
                Some(Home::Integer(_)) | None => return,
            };
        };
        let is_memory = |source: &Source| !matches!(source, Source::Reg(_));
        match inst {
            Inst::Binary { a, b, .. } | Inst::Compare { a, b, .. } | Inst::Masked { a, b, .. }
                if *b != Source::Reg(*a) =>
            {
                memory(b);
            }
            Inst::Unary { a, .. } => memory(a),
            Inst::Blend { yes, .. } => memory(yes),
            Inst::MulAdd { to, a, b, c } => {
                if [&*a, &*b, &*c].into_iter().any(is_memory) {
                    return;
                }
                for source in [b, a, c] {
                    if *source != Source::Reg(*to) {
                        memory(source);
                    }
                    if is_memory(source) {
                        return;
                    }
                }
            }
            Inst::IntBinary { b: IntSource::Reg(reg), a, to, .. } => {
                // A product or sum may overwrite its left side only, which then must be in a register.
                if let (Some(slot), true) = (self.slot(*reg), reg != a && reg != to)
                    && let Inst::IntBinary { b, .. } = inst
                {
                    *b = IntSource::Slot(slot);
                }
            }
            Inst::Branch { left, right, .. } => {
                let slot = |source: &IntSource| match source {
                    IntSource::Reg(reg) => self.slot(*reg),
                    IntSource::Slot(_) | IntSource::Constant(_) => None,
                };
                if let Some(found) = slot(left) {
                    *left = IntSource::Slot(found);
                } else if let (Some(found), IntSource::Reg(_)) = (slot(right), &left) {
                    *right = IntSource::Slot(found);
                }
            }
            _ => {}
        }
    }
}
