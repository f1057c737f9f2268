//! Small ONNX files made in the test: the wire format by hand, with the field numbers of `onnx.proto`.

/// A message under construction.
#[derive(Clone, Default)]
pub struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn int(mut self, field: u64, value: i64) -> Message {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    pub fn bytes(mut self, field: u64, bytes: &[u8]) -> Message {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, field: u64, text: &str) -> Message {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(self, field: u64, inner: &Message) -> Message {
        self.bytes(field, &inner.0)
    }
}

/// A value of an attribute.
#[derive(Clone, Copy)]
pub enum Attribute<'a> {
    Int(i64),
    Ints(&'a [i64]),
}

/// A graph: nodes, weights, inputs and outputs as they come.
#[derive(Clone, Default)]
pub struct Graph(Message);

impl Graph {
    pub fn node(
        self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute<'_>)],
    ) -> Graph {
        let node = inputs.iter().fold(Message::default(), |m, input| m.text(1, input));
        let node = node.text(2, output).text(3, &format!("the_{output}")).text(4, op);
        let node = attributes.iter().fold(node, |m, (name, value)| {
            let attribute = Message::default().text(1, name);
            m.message(
                5,
                &match value {
                    Attribute::Int(value) => attribute.int(3, *value).int(20, 2),
                    Attribute::Ints(values) => {
                        values.iter().fold(attribute.int(20, 7), |a, value| a.int(8, *value))
                    }
                },
            )
        });
        Graph(self.0.message(1, &node))
    }

    /// A weight whose elements go up and down between -1 and 1.
    pub fn weight(self, name: &str, shape: &[i64]) -> Graph {
        let elements = shape.iter().product::<i64>();
        let value = |i: i64| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0;
        let bytes: Vec<u8> = (0..elements).flat_map(|i| value(i).to_le_bytes()).collect();
        Graph(self.0.message(5, &tensor(name, shape, 1).bytes(9, &bytes)))
    }

    pub fn integers(self, name: &str, values: &[i64]) -> Graph {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Graph(self.0.message(5, &tensor(name, &[values.len() as i64], 7).bytes(9, &bytes)))
    }

    /// A weight that lies in a file beside the model.
    pub fn external(self, name: &str, shape: &[i64], file: &str) -> Graph {
        let entry = Message::default().text(1, "location").text(2, file);
        Graph(self.0.message(5, &tensor(name, shape, 1).message(13, &entry).int(14, 1)))
    }

    /// Sizes are numbers or names.
    pub fn input(self, name: &str, element: i64, sizes: &[&str]) -> Graph {
        Graph(self.0.message(11, &port(name, element, sizes)))
    }

    pub fn output(self, name: &str) -> Graph {
        Graph(self.0.message(12, &port(name, 1, &[])))
    }

    pub fn model(self) -> Vec<u8> {
        let opset = Message::default().int(2, 17);
        let model = Message::default().int(1, 8).text(2, "the test");
        model.message(7, &self.0.text(2, "tiny")).message(8, &opset).0
    }
}

fn tensor(name: &str, shape: &[i64], element: i64) -> Message {
    shape.iter().fold(Message::default(), |m, size| m.int(1, *size)).int(2, element).text(8, name)
}

fn port(name: &str, element: i64, sizes: &[&str]) -> Message {
    let shape = sizes.iter().fold(Message::default(), |m, size| {
        let size = match size.parse() {
            Ok(number) => Message::default().int(1, number),
            Err(_) => Message::default().text(2, size),
        };
        m.message(1, &size)
    });
    let ty = Message::default().int(1, element).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &ty))
}
