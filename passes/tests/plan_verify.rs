//! The verifier of plans refuses what would read or write the wrong bytes.

use rectify_ir::bind::{Bindings, bind};
use rectify_ir::kernel::{Descriptor, PackFormat, StepArgs, Winograd, WinogradArgs, WinogradPack};
use rectify_ir::lang::compile_text;
use rectify_ir::plan::{Algorithm, Args, Place, Plan, verify};
use rectify_ir::target::{Level, Target};
use rectify_passes::{ConvPolicy, lower_with};

fn plan_of(text: &str, policy: ConvPolicy) -> Plan {
    let graph = compile_text("test.rect", text).unwrap_or_else(|e| panic!("{e}"));
    let bound = bind(&graph, &Bindings::new()).unwrap_or_else(|e| panic!("{e}"));
    lower_with(&bound, &Target::new(Level::X86V3), policy).unwrap_or_else(|e| panic!("{e}"))
}

fn plan() -> Plan {
    let text = "rect 1
        model m(x: f32[1, 3, 8, 8]) {
            let a = x |> conv(8, kernel: 3, pad: 1) as a |> relu
            (a |> conv(8, kernel: 3, pad: 1) as b) + a
        }";
    plan_of(text, ConvPolicy::NoWinograd)
}

/// A Winograd convolution between contractions.
fn winograd_plan() -> Plan {
    let text = "rect 1
        model m(x: f32[1, 3, 8, 8]) {
            let a = x |> conv(8, kernel: 1) as a |> relu
            ((a |> conv(8, kernel: 3, pad: 1) as b) + a) |> conv(4, kernel: 1) as c
        }";
    plan_of(text, ConvPolicy::Only(Algorithm::WinogradF4))
}

/// The plan after a change breaks the invariant of this number; returns the message.
#[track_caller]
fn refuses_in(mut plan: Plan, invariant: u8, change: impl FnOnce(&mut Plan)) -> String {
    verify(&plan).expect("a legal plan");
    change(&mut plan);
    match verify(&plan) {
        Err(violation) => {
            assert_eq!(violation.invariant, invariant, "{violation}\n{plan}");
            violation.message
        }
        Ok(()) => panic!("accepted:\n{plan}"),
    }
}

#[track_caller]
fn refuses(invariant: u8, change: impl FnOnce(&mut Plan)) {
    refuses_in(plan(), invariant, change);
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

/// The Winograd step of a plan with one, after changes of its kernel, arguments and pack.
fn refuses_winograd(
    invariant: u8,
    message: &str,
    change: impl FnOnce(&mut Winograd, &mut WinogradArgs, &mut WinogradPack),
) {
    let said = refuses_in(winograd_plan(), invariant, |p| {
        let is_winograd = |step: &&mut rectify_ir::plan::Step| matches!(step.args, Args::Winograd(_));
        let step = p.steps.iter_mut().find(is_winograd).expect("a Winograd step");
        let Place::Pack(pack) = p.buffers[step.pointers[2].buffer.0 as usize].place else {
            panic!("the weights are no pack")
        };
        let Descriptor::Winograd(kernel) = &mut p.kernels[step.kernel.0 as usize] else {
            panic!("no Winograd")
        };
        let PackFormat::Winograd(format) = &mut p.packs[pack.0 as usize].format else { panic!("no U") };
        let Args::Winograd(args) = &mut step.args else { panic!("no arguments of Winograd") };
        change(kernel, args, format);
    });
    assert!(said.contains(message), "{said}");
}

#[test]
fn winograd_kernels_and_arguments() {
    refuses_winograd(1, "Winograd tiles of 3x3", |kernel, _, _| kernel.outputs = 3);
    refuses_winograd(1, "accumulators", |kernel, _, _| kernel.tile.pixels = 15);
    refuses_winograd(2, "without channels", |_, args, _| args.in_channels = 0);
    refuses_winograd(2, "an empty Winograd task", |_, args, _| args.block = 0);
    refuses_winograd(2, "an empty Winograd task", |_, args, _| args.part = -1);
    refuses_winograd(2, "not adjacent", |_, args, _| args.input.pixel[2] *= 2);
    refuses_winograd(3, "touches bytes", |_, args, _| args.extents[1] += 1);
    refuses_winograd(3, "output touches bytes", |_, args, _| args.output.pixel[1] *= 2);
    refuses_winograd(10, "bytes of scratch", |_, args, _| {
        args.extents = [1, 1000, 1000];
        args.block = 1 << 20;
        // So small a step that all pixels lie in the buffers.
        for stream in [&mut args.input, &mut args.output].into_iter().chain(&mut args.operands) {
            stream.pixel[..2].fill(0);
        }
    });
}

#[test]
fn winograd_packs() {
    refuses_winograd(11, "not how", |_, _, pack| pack.outputs = 2);
    refuses_winograd(11, "not how", |_, _, pack| pack.in_channels += 1);
    refuses_winograd(11, "not how", |_, _, pack| pack.picked.count -= 1);
    refuses_winograd(11, "not how", |_, _, pack| pack.width *= 2);
    refuses_winograd(11, "not how", |kernel, _, _| kernel.outputs = 2);
    let weights = |p: &Plan, winograd: bool| {
        let step = p.steps.iter().find(|s| {
            let kernel = p.kernel(s.kernel);
            if winograd {
                matches!(kernel, Descriptor::Winograd(_))
            } else {
                matches!(kernel, Descriptor::Contract(_))
            }
        });
        step.expect("a convolution").pointers[2]
    };
    // Plain weights for a Winograd kernel, and transformed ones for a contraction.
    for winograd in [true, false] {
        let said = refuses_in(winograd_plan(), 11, |p| {
            let other = weights(p, !winograd);
            let own = weights(p, winograd);
            let step = p.steps.iter_mut().find(|s| s.pointers.get(2) == Some(&own));
            step.expect("the step").pointers[2] = other;
        });
        assert!(said.contains("weights are packed as"), "{said}");
    }
    // The size of another format.
    refuses_in(winograd_plan(), 5, |p| {
        let pack = p.packs.iter_mut().find(|p| matches!(p.format, PackFormat::Winograd(_)));
        pack.expect("U").bytes /= 2;
    });
}
