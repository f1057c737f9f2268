//! The resolved pointer arguments of all steps of a plan, in one table.

use super::executable::Executable;
use crate::arena::Arena;
use rectify_ir::plan::Place;

/// Pointers of all steps, one step after another. Those into the caller's memory are patched at each run.
pub(super) struct Pointers {
    table: Vec<*mut u8>,
    /// Where the pointers of step i begin; one more entry than steps.
    starts: Vec<usize>,
    /// For each input and output: entries of the table that lie in it, with their offsets.
    inputs: Vec<Vec<(usize, i64)>>,
    outputs: Vec<Vec<(usize, i64)>>,
}

// Safety: plain addresses. What they point to is the session's arena, the executable's packs, or memory that the caller of
// `Session::run` lends for the run; `Session` keeps or checks all three.
unsafe impl Send for Pointers {}
// Safety: as above; shared access only reads the table.
unsafe impl Sync for Pointers {}

impl Pointers {
    pub fn new(executable: &Executable, arena: &Arena) -> Pointers {
        let plan = executable.plan();
        let mut pointers = Pointers {
            table: Vec::new(),
            starts: vec![0],
            inputs: vec![vec![]; plan.inputs.len()],
            outputs: vec![vec![]; plan.outputs.len()],
        };
        for step in &plan.steps {
            for p in &step.pointers {
                let entry = pointers.table.len();
                let base = match plan.buffer(p.buffer).place {
                    Place::Arena { offset_bytes } => arena.at(offset_bytes),
                    Place::Pack(pack) => executable.pack_base(pack).cast_mut(),
                    Place::Input(i) => {
                        pointers.inputs[i as usize].push((entry, p.offset_bytes));
                        std::ptr::null_mut()
                    }
                    Place::Output(i) => {
                        pointers.outputs[i as usize].push((entry, p.offset_bytes));
                        std::ptr::null_mut()
                    }
                };
                // Offsets may lie outside of a buffer where strides lead back into it, hence wrapping arithmetic.
                pointers.table.push(base.wrapping_offset(p.offset_bytes as isize));
            }
            pointers.starts.push(pointers.table.len());
        }
        pointers
    }

    pub fn set_input(&mut self, input: usize, base: *const u8) {
        for (entry, offset) in &self.inputs[input] {
            self.table[*entry] = base.cast_mut().wrapping_offset(*offset as isize);
        }
    }

    pub fn set_output(&mut self, output: usize, base: *mut u8) {
        for (entry, offset) in &self.outputs[output] {
            self.table[*entry] = base.wrapping_offset(*offset as isize);
        }
    }

    /// The pointer array of a step.
    pub fn of_step(&self, step: usize) -> *const *mut u8 {
        self.table[self.starts[step]..].as_ptr()
    }
}
