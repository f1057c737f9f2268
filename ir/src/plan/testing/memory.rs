//! Memory of a reference execution, by buffer place: bytes, which elements of any type are read from and written to.

use super::number::Number;
use crate::dtype::DType;
use crate::plan::{Place, Plan, Step};

pub struct Memory<'a> {
    plan: &'a Plan,
    inputs: &'a [Vec<u8>],
    outputs: Vec<Vec<u8>>,
    arena: Vec<u8>,
    packs: Vec<Vec<u8>>,
}

/// What unwritten bytes hold: as f32 they are NaN, so that reading one shows.
const UNWRITTEN: u8 = 0xff;

impl<'a> Memory<'a> {
    pub fn new(plan: &'a Plan, inputs: &'a [Vec<u8>], packs: Vec<Vec<u8>>) -> Memory<'a> {
        let outputs = plan.outputs.iter().map(|p| vec![UNWRITTEN; plan.buffer(p.buffer).bytes]).collect();
        Memory { plan, inputs, outputs, arena: vec![UNWRITTEN; plan.arena_bytes], packs }
    }

    pub fn into_outputs(self) -> Vec<Vec<u8>> {
        self.outputs
    }

    /// The f32 at a byte offset from a step's pointer.
    pub fn read(&self, step: &Step, pointer: usize, offset: i64) -> f64 {
        self.number(step, pointer, offset, DType::F32)
    }

    /// Writes an f32 to the output.
    pub fn write(&mut self, step: &Step, offset: i64, value: f64) {
        self.store(step, offset, DType::F32, value);
    }

    /// The element at a byte offset from a step's pointer, in the arithmetic of the caller.
    pub fn number<N: Number>(&self, step: &Step, pointer: usize, offset: i64, element: DType) -> N {
        let p = step.pointers[pointer];
        let at = (p.offset_bytes + offset) as usize;
        let (memory, at) = match self.plan.buffer(p.buffer).place {
            Place::Input(i) => (&self.inputs[i as usize], at),
            Place::Output(i) => (&self.outputs[i as usize], at),
            Place::Pack(i) => (&self.packs[i.0 as usize], at),
            Place::Arena { offset_bytes } => (&self.arena, offset_bytes + at),
        };
        N::read(element, &memory[at..at + element.size_bytes()])
    }

    /// Writes an element of the output.
    pub fn store<N: Number>(&mut self, step: &Step, offset: i64, element: DType, value: N) {
        let p = step.pointers[0];
        let at = (p.offset_bytes + offset) as usize;
        let (memory, at) = match self.plan.buffer(p.buffer).place {
            Place::Output(i) => (&mut self.outputs[i as usize], at),
            Place::Arena { offset_bytes } => (&mut self.arena, offset_bytes + at),
            Place::Input(_) | Place::Pack(_) => panic!("a write to read-only memory"),
        };
        memory[at..at + element.size_bytes()].copy_from_slice(&value.bytes(element));
    }
}
