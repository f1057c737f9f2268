//! The networks for images of 28 x 28, as texts of the language.

use std::fmt::Write as _;

/// How weights begin. All draw the same normals (or uniforms) of a seed and differ by a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    He,
    /// The paper's "Xavier".
    Lecun,
    Glorot,
    TorchDefault,
}

impl Init {
    pub const ALL: [Init; 4] = [Init::He, Init::Lecun, Init::Glorot, Init::TorchDefault];

    pub fn name(self) -> &'static str {
        match self {
            Init::He => "he",
            Init::Lecun => "lecun",
            Init::Glorot => "glorot",
            Init::TorchDefault => "torch_default",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Init::He => "he_normal(fan: in)",
            Init::Lecun => "lecun_normal()",
            Init::Glorot => "xavier_normal()",
            Init::TorchDefault => "torch_default()",
        }
    }
}

/// The function between the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rectifier {
    Relu,
    /// A slope of 0.25 that is not learned.
    Leaky,
    /// One learned slope a layer.
    Shared,
    /// One learned slope a channel.
    ChannelWise,
}

impl Rectifier {
    pub const ALL: [Rectifier; 4] =
        [Rectifier::Relu, Rectifier::Leaky, Rectifier::Shared, Rectifier::ChannelWise];

    pub fn name(self) -> &'static str {
        match self {
            Rectifier::Relu => "relu",
            Rectifier::Leaky => "leaky",
            Rectifier::Shared => "prelu_shared",
            Rectifier::ChannelWise => "prelu_channel",
        }
    }

    /// Behind the layer of this name.
    fn text(self, layer: &str) -> String {
        match self {
            Rectifier::Relu => "relu".into(),
            Rectifier::Leaky => "leaky_relu(0.25)".into(),
            Rectifier::Shared => format!("prelu(share: layer) as {layer}"),
            Rectifier::ChannelWise => format!("prelu as {layer}"),
        }
    }
}

/// Plain networks of 22 or 30 layers: three stages of 3x3 convolutions with 16, 32 and 64 filters, a max-pool behind each, and
/// three fully connected layers; ReLU throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    Plain22,
    Plain30,
}

impl Depth {
    pub const ALL: [Depth; 2] = [Depth::Plain22, Depth::Plain30];

    pub fn name(self) -> &'static str {
        match self {
            Depth::Plain22 => "plain22",
            Depth::Plain30 => "plain30",
        }
    }

    pub fn model(self, init: Init) -> String {
        let convolutions = match self {
            Depth::Plain22 => [6, 6, 7],
            Depth::Plain30 => [9, 9, 9],
        };
        let stages: Vec<Stage> = [16, 32, 64]
            .into_iter()
            .zip(convolutions)
            .map(|(filters, count)| Stage { filters, count, pool: true })
            .collect();
        let mut text = head(self.name(), init);
        body(&mut text, &stages, Rectifier::Relu);
        text.push_str("        |> flatten\n");
        text.push_str("        |> dense(256) as fc1 |> relu\n        |> dense(256) as fc2 |> relu\n");
        text.push_str("        |> dense(10) as fc3\n}\n");
        text
    }
}

/// The paper's small network of 14 layers, made for 28 x 28: one 5x5 convolution, four and six of 3x3, a spatial pyramid and
/// three fully connected layers with dropout between them.
pub fn small14(rectifier: Rectifier) -> String {
    let mut text = head("small14", Init::He);
    let _ = writeln!(
        text,
        "        |> conv(32, kernel: 5, pad: 2) as conv1 |> {} |> max_pool(kernel: 2)",
        rectifier.text("conv1")
    );
    let stages = [Stage { filters: 32, count: 4, pool: true }, Stage { filters: 64, count: 6, pool: false }];
    body_from(&mut text, &stages, 2, rectifier);
    text.push_str("        |> spp(bins: [3, 2, 1])\n");
    for layer in ["fc1", "fc2"] {
        let _ =
            writeln!(text, "        |> dense(256) as {layer} |> {} |> dropout(0.5)", rectifier.text(layer));
    }
    text.push_str("        |> dense(10) as fc3\n}\n");
    text
}

struct Stage {
    filters: usize,
    count: usize,
    pool: bool,
}

fn head(name: &str, init: Init) -> String {
    format!(
        "rect 1\nmodel {name}(image: f32[N, 1, 28, 28]) -> (logits: f32[N, 10]) {{\n    \
         defaults {{ conv.weight = {0}, dense.weight = {0} }}\n    image\n",
        init.text()
    )
}

fn body(text: &mut String, stages: &[Stage], rectifier: Rectifier) {
    body_from(text, stages, 1, rectifier);
}

fn body_from(text: &mut String, stages: &[Stage], first: usize, rectifier: Rectifier) {
    for (i, stage) in stages.iter().enumerate() {
        for j in 1..=stage.count {
            let name = format!("conv{}_{j}", i + first);
            let function = rectifier.text(&name);
            let _ = writeln!(
                text,
                "        |> conv({}, kernel: 3, pad: 1) as {name} |> {function}",
                stage.filters
            );
        }
        if stage.pool {
            text.push_str("        |> max_pool(kernel: 2)\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rectify::Model;

    #[test]
    fn networks_have_the_layers_that_their_names_say() {
        let weights = |text: &str| {
            let model = Model::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            model.parameters().iter().filter(|p| p.name.ends_with("weight")).count()
        };
        for init in Init::ALL {
            assert_eq!(weights(&Depth::Plain22.model(init)), 22);
            assert_eq!(weights(&Depth::Plain30.model(init)), 30);
        }
        for rectifier in Rectifier::ALL {
            assert_eq!(weights(&small14(rectifier)), 14);
        }
    }
}
