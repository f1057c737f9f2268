//! Compiled models that are dropped leave nothing behind: code, parameters, arenas and threads go.
#![cfg(target_os = "linux")]

use rectify::{Model, Tensor};

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

/// Mappings of this process; code that is not freed shows here even where it is small.
fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

const ROUNDS: usize = 1000;
const WARM: usize = 100;

#[test]
fn a_thousand_compilations() {
    let model = Model::parse(
        "rect 1
        model net(x: f32[N, 64]) -> (y: f32[N, 8]) {
            x |> dense(256) as a |> prelu as a |> dense(8) as b
        }",
    )
    .unwrap();
    let x = Tensor::new([1, 64], vec![0.5f32; 64]).unwrap();
    let (mut resident, mut mapped) = (0, 0);
    for round in 0..ROUNDS {
        if round == WARM {
            (resident, mapped) = (resident_bytes(), mappings());
        }
        let threads = 1 + usize::from(round % 50 == 0);
        let compiled = model.compiler().threads(threads).seed(round as u64).compile().unwrap();
        let outputs = compiled.run(&[("x", x.view())]).unwrap();
        assert_eq!(outputs[0].shape(), [1, 8]);
    }
    // A round has 70 KB of parameters and some 10 KB of code, so leaking either would show tens of megabytes.
    let (grown, more) = (resident_bytes().saturating_sub(resident), mappings().saturating_sub(mapped));
    assert!(grown < 4 << 20, "{grown} bytes more than after {WARM} rounds");
    assert!(more < 64, "{more} mappings more than after {WARM} rounds");
}
