//! Drawings: well-formed, readable, without overlaps.

use super::*;
use crate::builder::{ConvSpec, GraphBuilder};
use crate::testing::{Options, random_graph};

/// Tags are balanced and nothing unescaped is left: enough of XML for what is written here.
fn is_well_formed(svg: &str) -> bool {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(at) = rest.find('<') {
        let Some(end) = rest[at..].find('>') else { return false };
        let tag = &rest[at + 1..at + end];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap_or_default());
        }
        rest = &rest[at + end + 1..];
    }
    open.is_empty() && !svg.contains("NaN") && !svg.contains("inf")
}

fn graph() -> Graph {
    let mut g = GraphBuilder::new("a < \"b\"");
    let x = g.input("image", "N, 3, H, W");
    let y = g.conv(x, "stem", ConvSpec::new(64, 3).pad(1)).unwrap();
    let z = g.relu(y).unwrap();
    let z = g.add(y, z).unwrap();
    g.output("y", z);
    g.finish().unwrap()
}

#[test]
fn boxes_tell_of_their_nodes() {
    let mut g = graph();
    let sum = g.outputs[0].value.node;
    g.node_mut(sum).provenance.rules.push("some-rule".into());
    let svg = to_svg(&g, &SvgOptions::default());
    assert!(is_well_formed(&svg), "{svg}");
    for part in [
        "a &lt; &quot;b&quot;",
        "3 operations · 1.79 k parameters · stage typed",
        "weight [64, 3, 3, 3] · 1.79 k",
        ">stem</tspan>",
        "by some-rule</title>",
        "convolution, dense",
        "[N, 64, H, W]",
    ] {
        assert!(svg.contains(part), "{part} is not in {svg}");
    }
    // input → conv → relu → add → output, conv → add
    assert_eq!(svg.matches("class=\"edge\"").count(), 5);
}

#[test]
fn annotations_colour_boxes() {
    let g = graph();
    let note = Annotation { text: "1.3 ms & more".into(), heat: 1.0 };
    let annotations = BTreeMap::from([(g.outputs[0].value.node, note)]);
    let options = SvgOptions { annotations, remark: "2.5 ms on 1 thread".into() };
    let svg = to_svg(&g, &options);
    assert!(is_well_formed(&svg));
    assert!(svg.contains("1.3 ms &amp; more") && svg.contains("cold to hot"));
    assert!(svg.contains("stage typed · 2.5 ms on 1 thread</text>"), "{svg}");
    assert!(svg.contains(&format!("fill=\"{}\" stroke", heat_colour(1.0))));
    assert_eq!((heat_colour(0.0), heat_colour(f64::NAN)), ("#ffffff".into(), "#ffffff".into()));
    assert_eq!(heat_colour(7.0), "#f87171");
}

#[test]
fn random_graphs_draw() {
    for seed in 0..30 {
        let options = Options { operations: 40, symbolic: seed % 2 == 1, ..Options::default() };
        let svg = to_svg(&random_graph(seed, &options), &SvgOptions::default());
        assert!(is_well_formed(&svg), "{seed}");
    }
    assert!(is_well_formed(&to_svg(&Graph::new("empty"), &SvgOptions::default())));
}
