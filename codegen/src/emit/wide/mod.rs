//! The wide emitter: AVX2 with 8 lanes and 16 registers, AVX-512 with 16 lanes, 32 registers and lane masks.
//!
//! ```text
//! tile IR --select--> machine instructions over virtual registers --liveness, scan--> places --encode--> bytes
//!                         ^-- spill, as long as registers do not suffice --'
//! ```
//!
//! * `fold` decides what is read straight from memory, `select` and `vectors` choose instructions.
//! * `liveness` finds intervals, `scan` gives out vector, integer and mask registers, `spill` rewrites.
//! * `encode` and `encode_vectors` write bytes through `assembler`, with `codes` and `constants`.
//!
//! The order of the tile IR's statements is the schedule. The code calls nothing, keeps its constants behind itself,
//! and ends in `vzeroupper`.

mod assembler;
mod codes;
mod constants;
mod encode;
mod encode_vectors;
mod fold;
mod liveness;
mod machine;
mod scan;
mod select;
mod spill;
#[cfg(test)]
mod tests;
mod vectors;

use super::{Code, EmitError};
use crate::tile::{self, verify};
use rectify_ir::target::{Level, Target};

/// Rounds of spilling after which allocation is broken: each round spills at least one register for good.
const MAX_ROUNDS: usize = 32;

/// Machine code of a tile function of 8 or 16 lanes.
pub fn emit(function: &tile::Function, target: &Target) -> Result<Code, EmitError> {
    verify::verify(function)?;
    let wide = match (function.lanes, target.level) {
        (8, Level::X86V3 | Level::X86V4) => false,
        (16, Level::X86V4) => true,
        (lanes, level) => return Err(EmitError::Unsupported(format!("{lanes} lanes at {level}"))),
    };
    let pools = scan::Pools::new(if wide { 32 } else { 16 });
    let (mut code, places) = allocated(function, &pools)?;
    Ok(Code { bytes: encode::encode(&mut code, &places, wide)?, alignment: 64 })
}

/// Machine instructions, and the place of each of their registers.
fn allocated(
    function: &tile::Function,
    pools: &scan::Pools,
) -> Result<(machine::Code, Vec<scan::Place>), EmitError> {
    let mut code = select::select(function);
    for _ in 0..MAX_ROUNDS {
        let intervals = liveness::intervals(&mut code);
        match scan::allocate(&code, &intervals, pools) {
            Ok(places) => return Ok((code, places)),
            Err(spilled) if spilled.iter().any(|reg| code.tiny[reg.0 as usize]) => break,
            Err(spilled) => spill::rewrite(&mut code, &spilled),
        }
    }
    Err(EmitError::Unsupported("a function that runs out of registers".to_string()))
}
