//! The verifier of plans refuses what would read or write the wrong bytes.

use rectify_ir::bind::{Bindings, bind};
use rectify_ir::kernel::{Descriptor, StepArgs};
use rectify_ir::lang::compile_text;
use rectify_ir::plan::{Args, Place, Plan, verify};
use rectify_ir::target::{Level, Target};
use rectify_passes::lower;

fn plan() -> Plan {
    let text = "rect 1
        model m(x: f32[1, 3, 8, 8]) {
            let a = x |> conv(8, kernel: 3, pad: 1) as a |> relu
            (a |> conv(8, kernel: 3, pad: 1) as b) + a
        }";
    let graph = compile_text("test.rect", text).unwrap_or_else(|e| panic!("{e}"));
    let bound = bind(&graph, &Bindings::new()).unwrap_or_else(|e| panic!("{e}"));
    lower(&bound, &Target::new(Level::X86V3)).unwrap_or_else(|e| panic!("{e}"))
}

/// The plan after a change breaks the invariant of this number.
#[track_caller]
fn refuses(invariant: u8, change: impl FnOnce(&mut Plan)) {
    let mut changed = plan();
    verify(&changed).expect("a legal plan");
    change(&mut changed);
    match verify(&changed) {
        Err(violation) => assert_eq!(violation.invariant, invariant, "{violation}\n{changed}"),
        Ok(()) => panic!("accepted:\n{changed}"),
    }
}

/// Index of the first step of a contraction.
fn conv(plan: &Plan, nth: usize) -> usize {
    let is_conv = |i: &usize| matches!(plan.kernel(plan.steps[*i].kernel), Descriptor::Contract(_));
    (0..plan.steps.len()).filter(is_conv).nth(nth).expect("a convolution")
}

#[test]
fn tables() {
    refuses(1, |p| p.steps[0].kernel.0 = 99);
    refuses(1, |p| p.kernels.push(p.kernels[0].clone()));
    refuses(10, |p| p.scratch_bytes = 0);
    refuses(10, |p| p.arena_lower_bound_bytes = p.arena_bytes + 1);
}

#[test]
fn pointers_and_arguments() {
    refuses(2, |p| {
        p.steps[0].pointers.pop();
    });
    refuses(2, |p| {
        let i = conv(p, 0);
        let Args::Tile(args) = &mut p.steps[i].args else { panic!("a tile") };
        args.strip = 0;
    });
}

#[test]
fn bytes_beyond_a_buffer() {
    refuses(3, |p| {
        let i = conv(p, 1);
        p.steps[i].pointers[1].offset_bytes -= 4096;
    });
    // A tap that leaves the halo.
    refuses(3, |p| {
        let i = conv(p, 1);
        let Args::Tile(args) = &mut p.steps[i].args else { panic!("a tile") };
        let StepArgs::Table(taps) = &mut args.steps else { panic!("a table") };
        *taps.last_mut().expect("a tap") += 16;
    });
}

#[test]
fn writes_to_what_is_read_only() {
    refuses(4, |p| {
        let input = p.inputs[0].buffer;
        let copy =
            (0..p.steps.len()).find(|i| p.steps[*i].pointers.get(1).is_some_and(|q| q.buffer == input));
        let step = &mut p.steps[copy.expect("the copy of the input")];
        step.pointers[0].buffer = input;
        step.pointers[0].offset_bytes = 0;
        if let Args::Nest(args) = &mut step.args {
            args.output = args.operands[0].clone();
        }
    });
}

#[test]
fn ports_and_packs() {
    refuses(5, |p| p.inputs[0].shape[0] = 2);
    refuses(5, |p| p.packs[0].bytes += 4);
}

#[test]
fn memory() {
    refuses(6, |p| {
        let arena = p.buffers.iter_mut().filter(|b| matches!(b.place, Place::Arena { .. }));
        arena.for_each(|b| b.place = Place::Arena { offset_bytes: 0 });
    });
    refuses(6, |p| {
        let buffer = p.buffers.iter_mut().find(|b| matches!(b.place, Place::Arena { .. })).expect("one");
        buffer.place = Place::Arena { offset_bytes: 4 };
    });
}

#[test]
fn order() {
    // The halo is not filled.
    refuses(7, |p| {
        p.steps.remove(0);
    });
    // Nothing writes the output.
    refuses(8, |p| {
        p.steps.pop();
    });
    for i in 0..plan().steps.len() {
        if plan().steps[i].barrier {
            refuses(9, |p| p.steps[i].barrier = false);
        }
    }
}
