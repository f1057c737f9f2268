//! Graphviz DOT. Parameters are listed in the nodes that read them.

use super::describe::{details, param_operands, title, type_text, types};
use crate::graph::Graph;
use crate::op::Op;
use std::fmt::Write;

/// The graph in DOT. Edges carry the shape that flows along them.
pub fn to_dot(graph: &Graph) -> String {
    let param_only = graph.param_only();
    let mut dot = format!("digraph {} {{\n", quoted(&graph.name));
    dot += "  node [shape=box, style=rounded, fontname=\"sans-serif\", fontsize=10];\n";
    dot += "  edge [fontname=\"sans-serif\", fontsize=8];\n";
    for id in graph.topo_order() {
        let node = graph.node(id);
        let read_by_output = graph.outputs.iter().any(|o| o.value.node == id);
        if param_only.contains(&id) && !read_by_output {
            continue;
        }
        let mut label = title(node);
        if let Some(name) = &node.name {
            let _ = write!(label, "\n{name}");
        }
        let _ = write!(label, "\n{}", types(node));
        for (role, _, ty) in param_operands(graph, node, &param_only) {
            let _ = write!(label, "\n{role} {}", type_text(ty));
        }
        let shape = if matches!(node.op, Op::Input) { ", shape=ellipse" } else { "" };
        let tooltip = quoted(&details(graph, id, &param_only));
        let _ = writeln!(dot, "  n{} [label={}, tooltip={tooltip}{shape}];", id.index(), quoted(&label));
        for value in node.operands.iter().filter(|v| !param_only.contains(&v.node)) {
            let text = quoted(&type_text(graph.ty(*value)));
            let _ = writeln!(dot, "  n{} -> n{} [label={text}];", value.node.index(), id.index());
        }
    }
    for (i, output) in graph.outputs.iter().enumerate() {
        let _ = writeln!(dot, "  out{i} [label={}, shape=ellipse];", quoted(&output.name));
        let _ = writeln!(dot, "  n{} -> out{i};", output.value.node.index());
    }
    dot + "}\n"
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{ConvSpec, GraphBuilder};

    #[test]
    fn nodes_edges_and_outputs() {
        let mut g = GraphBuilder::new("a \"net\"");
        let x = g.input("x", "N, 3, H, W");
        let y = g.conv(x, "stem", ConvSpec::new(8, 3).pad(1)).unwrap();
        let y = g.relu(y).unwrap();
        g.output("y", y);
        let dot = to_dot(&g.finish().unwrap());
        for part in [
            "digraph \"a \\\"net\\\"\" {",
            "n0 [label=\"input\\nx\\n[N, 3, H, W]\"",
            "n3 [label=\"conv\\nstem\\n[N, 8, H, W]\\nweight [8, 3, 3, 3]\\nbias [8]\"",
            "n0 -> n3 [label=\"[N, 3, H, W]\"];",
            "n4 -> out0;",
        ] {
            assert!(dot.contains(part), "{part} is not in {dot}");
        }
        assert_eq!(dot.matches(" -> ").count(), 3);
    }
}
