//! The argument block of pixel-tile kernels, and the bytes that a call touches.

use super::tiles::{Operand, StepArgs, Store, Stream, TaskOrder, TileArgs, TileShape, slot};
use super::tiling::tile_table;
use super::{Illegal, Span, require};

impl TileArgs {
    pub fn pixels(&self) -> i64 {
        self.extents.iter().product()
    }

    pub fn strips(&self) -> i64 {
        (self.pixels() + self.strip - 1) / self.strip
    }

    /// Channel groups (of `vectors * lanes` channels) in a group.
    pub fn oc_groups(&self, shape: &TileShape) -> i64 {
        let width = i64::from(shape.vectors) * i64::from(shape.lanes);
        (self.channels + width - 1) / width
    }

    /// Number of tasks; the kernel accepts ranges within `0..tasks`.
    pub fn tasks(&self, shape: &TileShape) -> i64 {
        self.groups * self.strips() * self.oc_groups(shape)
    }

    /// The argument block, after checking it against the descriptor.
    pub fn build(&self, shape: &TileShape) -> Result<Vec<i64>, Illegal> {
        self.check(shape)?;
        let (strips, oc_groups) = (self.strips(), self.oc_groups(shape));
        let mut block = vec![0; slot::STREAMS];
        block[slot::GROUP_DIV] = strips * oc_groups;
        block[slot::STRIPS] = strips;
        block[slot::OC_GROUPS] = oc_groups;
        (block[slot::STRIP_DIV], block[slot::OC_DIV]) = match self.order {
            TaskOrder::StripMajor => (oc_groups, 1),
            TaskOrder::ChannelMajor => (1, strips),
        };
        block[slot::PIXELS] = self.pixels();
        block[slot::STRIP] = self.strip;
        block[slot::CHANNELS] = self.channels;
        block[slot::STEPS] = self.steps.count();
        block[slot::WEIGHT_BYTES] = self.weight_bytes(shape);
        let lead = 4 - self.extents.len();
        for d in 0..4 {
            block[slot::EXTENTS + d] = if d < lead { 1 } else { self.extents[d - lead] };
        }
        self.push_stream(&mut block, &self.input);
        self.push_stream(&mut block, &self.output);
        for (stream, operand) in self.operands.iter().zip(shape.operands) {
            match operand {
                Operand::Pixels | Operand::PixelsStrided => self.push_stream(&mut block, stream),
                // Looped epilogues step every stream from vector to vector; this one stands still.
                Operand::PixelScalar => {
                    let still = Stream { group: 0, block: 0, ..stream.clone() };
                    self.push_stream(&mut block, &still);
                }
                Operand::PerChannel | Operand::Scalar => {}
            }
        }
        block.extend(tile_table(shape.pixels, shape.vectors));
        match &self.steps {
            StepArgs::Table(offsets) => block.extend(offsets),
            StepArgs::Linear { stride, .. } => block[slot::STEP_STRIDE] = *stride,
        }
        Ok(block)
    }

    /// Bytes of packed weights of one channel group.
    pub fn weight_bytes(&self, shape: &TileShape) -> i64 {
        self.steps.count() * i64::from(shape.inner) * i64::from(shape.vectors) * i64::from(shape.lanes) * 4
    }

    /// The bytes that a call over all tasks touches, for the plan's verifier.
    pub fn spans(&self, shape: &TileShape) -> Vec<Span> {
        let (lanes, lane_bytes) = (i64::from(shape.lanes), i64::from(shape.lanes) * 4);
        let padded = self.oc_groups(shape) * i64::from(shape.vectors);
        // Vectors that hold at least one real channel; the others are never stored nor loaded from streams.
        let vectors = (self.channels + i64::from(shape.lanes) - 1) / i64::from(shape.lanes);
        let tail = self.channels - (vectors - 1) * i64::from(shape.lanes);
        let mut spans = Vec::new();
        // First and end byte of the channels that exist, lane by lane: the last vector ends at its last channel.
        let channels = |stream: &Stream, lane: i64| {
            let (low, high) = self.reach(stream, 1);
            let ends = [(vectors - 2, lanes), (vectors - 1, tail)];
            let places = ends.iter().filter(|(vector, _)| *vector >= 0).flat_map(|(vector, count)| {
                [0, count - 1].map(|l| [l * lane, vector * stream.block + l * lane])
            });
            let (first, last) = places.flatten().fold((0, 0), |(a, b), place| (place.min(a), place.max(b)));
            (low + first, high + last + 4)
        };
        let (low_bytes, high_bytes) = match shape.store {
            Store::Vector => {
                let (low, high) = self.reach(&self.output, vectors);
                (low, high + lane_bytes)
            }
            Store::Partial => channels(&self.output, 4),
            Store::Strided => channels(&self.output, self.output.lane),
        };
        spans.push(Span { pointer: 0, low_bytes, high_bytes, writes: true });
        let (low, high) = self.reach(&self.input, if shape.input_blocks { vectors } else { 1 });
        let (first, last) = self.steps.range();
        let read = i64::from(shape.read) * 4;
        let mut pointer = 1;
        spans.push(Span { pointer, low_bytes: low + first, high_bytes: high + last + read, writes: false });
        let per_channel = self.groups * padded * lane_bytes;
        if shape.weights {
            pointer += 1;
            let bytes = self.groups * self.oc_groups(shape) * self.weight_bytes(shape);
            spans.push(Span { pointer, low_bytes: 0, high_bytes: bytes, writes: false });
        }
        if shape.bias {
            pointer += 1;
            spans.push(Span { pointer, low_bytes: 0, high_bytes: per_channel, writes: false });
        }
        for (operand, stream) in shape.operands.iter().zip(&self.operands) {
            pointer += 1;
            let (low_bytes, high_bytes) = match operand {
                Operand::PerChannel => (0, per_channel),
                Operand::Scalar => (0, 4),
                Operand::PixelScalar => {
                    let still = Stream { group: 0, ..stream.clone() };
                    let (low, high) = self.reach(&still, 1);
                    (low, high + 4)
                }
                Operand::Pixels => {
                    let (low, high) = self.reach(stream, vectors);
                    (low, high + lane_bytes)
                }
                Operand::PixelsStrided => channels(stream, stream.lane),
            };
            spans.push(Span { pointer, low_bytes, high_bytes, writes: false });
        }
        spans
    }

    fn check(&self, shape: &TileShape) -> Result<(), Illegal> {
        require!(self.groups >= 1 && self.channels >= 1 && self.strip >= 1, "an empty tile argument");
        require!(
            self.extents.len() == shape.rank as usize,
            "{} extents for rank {}",
            self.extents.len(),
            shape.rank
        );
        require!(self.extents.iter().all(|&extent| extent >= 1), "an extent below 1 in {:?}", self.extents);
        let pixels = self.extents.iter().try_fold(1i64, |total, &extent| total.checked_mul(extent));
        require!(pixels.is_some_and(|pixels| pixels < 1 << 40), "too many pixels: {:?}", self.extents);
        require!(
            self.operands.len() == shape.operands.len(),
            "{} operand streams for {}",
            self.operands.len(),
            shape.operands.len()
        );
        require!(
            matches!(self.steps, StepArgs::Table(_)) == shape.table,
            "steps given as {:?}, but table is {}",
            self.steps,
            shape.table
        );
        let streams = self.operands.iter().zip(shape.operands).filter(|(_, operand)| operand.is_stream());
        for stream in [&self.input, &self.output].into_iter().chain(streams.map(|(stream, _)| stream)) {
            require!(
                stream.pixel.len() == self.extents.len(),
                "{} pixel strides for {} extents",
                stream.pixel.len(),
                self.extents.len()
            );
        }
        Ok(())
    }

    fn push_stream(&self, block: &mut Vec<i64>, stream: &Stream) {
        let lead = 4 - self.extents.len();
        let stride = |d: usize| if d < lead { 0 } else { stream.pixel[d - lead] };
        block.extend([stream.base, stream.group, stream.block, stream.lane]);
        block.extend((0..4).map(stride));
        // When dimension d wraps, its index has advanced `extent` times since it was 0.
        block.extend((0..4usize).map(|d| match d.checked_sub(1) {
            Some(slower) if d > lead => stride(slower) - stride(d) * self.extents[d - lead],
            Some(_) | None => 0,
        }));
    }

    /// Least and greatest address of a stream over all pixels, groups and `vectors` channel vectors.
    fn reach(&self, stream: &Stream, vectors: i64) -> (i64, i64) {
        let mut low = stream.base;
        let mut high = stream.base;
        let mut span = |extent: i64, stride: i64| {
            let last = (extent - 1) * stride;
            low += last.min(0);
            high += last.max(0);
        };
        span(self.groups, stream.group);
        span(vectors, stream.block);
        for (&extent, &stride) in self.extents.iter().zip(&stream.pixel) {
            span(extent, stride);
        }
        (low, high)
    }
}
