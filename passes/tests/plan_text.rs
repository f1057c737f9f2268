//! Snapshots of plans: what the planner decides for typical networks, for people to read.

use rectify_ir::bind::{Bindings, bind};
use rectify_ir::lang::compile_text;
use rectify_ir::plan::{Plan, verify};
use rectify_ir::target::{Level, Target};
use rectify_passes::{lower, optimize};

fn plan(text: &str) -> Plan {
    let graph = compile_text("test.rect", text).unwrap_or_else(|e| panic!("{e}"));
    let graph = optimize(&graph, &Default::default()).unwrap_or_else(|e| panic!("{e}")).graph;
    let bound = bind(&graph, &Bindings::new()).unwrap_or_else(|e| panic!("{e}"));
    let plan = lower(&bound, &Target::new(Level::X86V3)).unwrap_or_else(|e| panic!("{e}"));
    verify(&plan).unwrap_or_else(|e| panic!("{e}\n{plan}"));
    plan
}

#[test]
fn super_resolution() {
    insta::assert_snapshot!(plan(
        "rect 1
        model fsrcnn(y: f32[1, 1, 12, 10]) {
            y |> conv(56, kernel: 5, pad: 2) as feature |> prelu as feature
              |> conv(12, kernel: 1) as shrink |> prelu as shrink
              |> for i in 1..=2 { conv(12, kernel: 3, pad: 1) as \"map{i}\" |> prelu as \"map{i}\" }
              |> conv(56, kernel: 1) as expand |> prelu as expand
              |> conv(4, kernel: 1, bias: none) as upscale |> depth_to_space(2, mode: dcr)
        }"
    ));
}

#[test]
fn residual_block() {
    insta::assert_snapshot!(plan(
        "rect 1
        model residual(x: f32[1, 3, 16, 16]) {
            let a = x |> conv(16, kernel: 7, stride: 2, pad: 3) as stem |> relu |> max_pool(kernel: 3, stride: 2, pad: 1)
            let b = a |> conv(16, kernel: 3, pad: 1) as c1 |> batch_norm as n1 |> prelu as n1
              |> conv(16, kernel: 3, pad: 1) as c2 |> batch_norm as n2
            a + b |> relu |> global_avg_pool |> flatten |> dense(10) as fc
        }"
    ));
}

/// Skip connections are written into the concatenation, by their producer and by the transposed convolution.
#[test]
fn skip_connection() {
    let text = plan(
        "rect 1
        model unet(x: f32[1, 3, 8, 8]) {
            let skip = x |> conv(8, kernel: 3, pad: 1) as enc |> prelu as enc
            let up = skip |> max_pool(kernel: 2) |> conv(16, kernel: 3, pad: 1) as mid |> prelu as mid
              |> conv_transpose(8, kernel: 2, stride: 2) as up
            concat(skip, up, axis: 1) |> conv(8, kernel: 3, pad: 1) as dec |> prelu as dec |> conv(2, kernel: 1) as head
        }",
    )
    .to_string();
    let steps: Vec<&str> = text.lines().skip_while(|l| *l != "steps:").collect();
    let buffer_of = |label: &str| -> Vec<&str> {
        let written = |l: &&str| l.contains(&format!(" {label} k"));
        steps.iter().filter(|l| written(l)).filter_map(|l| l.split(['(', ',', '+', ')']).nth(1)).collect()
    };
    assert_eq!(buffer_of("enc").len(), 1);
    assert!(buffer_of("up").iter().all(|b| *b == buffer_of("enc")[0]), "{text}");
    assert_eq!(buffer_of("up").len(), 4, "one step a sector:\n{text}");
    assert!(
        !text.contains("concat.") || !steps.iter().any(|l| l.contains("concat") && !l.contains("halo")),
        "{text}"
    );
}
