//! What convolution and pooling layers are made from.

use crate::init::Init;
use crate::op::{AttrValue, Attrs};

/// One value for all spatial axes, or one each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spatial {
    All(i64),
    Each(Vec<i64>),
}

impl Spatial {
    /// One entry an axis. A list stays as it is, so that its length is checked.
    pub(super) fn expand(&self, rank: usize) -> Vec<i64> {
        match self {
            Spatial::All(v) => vec![*v; rank],
            Spatial::Each(v) => v.clone(),
        }
    }

    fn attr(self) -> AttrValue {
        match self {
            Spatial::All(v) => v.into(),
            Spatial::Each(v) => v.into(),
        }
    }
}

impl From<i64> for Spatial {
    fn from(v: i64) -> Spatial {
        Spatial::All(v)
    }
}

impl<const N: usize> From<[i64; N]> for Spatial {
    fn from(v: [i64; N]) -> Spatial {
        Spatial::Each(v.into())
    }
}

impl From<Vec<i64>> for Spatial {
    fn from(v: Vec<i64>) -> Spatial {
        Spatial::Each(v)
    }
}

/// A convolution, or a transposed one. Sizes are one number for all spatial axes or a list.
#[derive(Clone, Debug)]
pub struct ConvSpec {
    pub(super) channels: i64,
    pub(super) kernel: Spatial,
    pub(super) groups: i64,
    pub(super) weight: Init,
    pub(super) bias: Option<Init>,
    attrs: Attrs,
}

impl ConvSpec {
    /// `channels` output channels; stride 1, no padding, one group, He-normal weight, zero bias.
    pub fn new(channels: i64, kernel: impl Into<Spatial>) -> ConvSpec {
        ConvSpec {
            channels,
            kernel: kernel.into(),
            groups: 1,
            weight: Init::he_normal(),
            bias: Some(Init::constant(0.0)),
            attrs: Attrs::new(),
        }
    }

    fn set(mut self, name: &str, value: AttrValue) -> ConvSpec {
        self.attrs.insert(name.to_string(), value);
        self
    }

    pub fn stride(self, stride: impl Into<Spatial>) -> ConvSpec {
        self.set("stride", stride.into().attr())
    }

    /// Amounts for all axes, an axis each, or before each axis and then after each axis.
    pub fn pad(self, pad: impl Into<Spatial>) -> ConvSpec {
        self.set("pad", pad.into().attr())
    }

    /// Output size = input size / stride, rounded up.
    pub fn same(self) -> ConvSpec {
        self.set("pad", "same".into())
    }

    pub fn dilation(self, dilation: impl Into<Spatial>) -> ConvSpec {
        self.set("dilation", dilation.into().attr())
    }

    pub fn groups(mut self, groups: i64) -> ConvSpec {
        self.groups = groups;
        self.set("groups", groups.into())
    }

    /// Elements added to the end of each axis; transposed convolutions only.
    pub fn output_pad(self, amount: impl Into<Spatial>) -> ConvSpec {
        self.set("output_pad", amount.into().attr())
    }

    pub fn weight(mut self, init: Init) -> ConvSpec {
        self.weight = init;
        self
    }

    pub fn bias(mut self, init: Init) -> ConvSpec {
        self.bias = Some(init);
        self
    }

    pub fn no_bias(mut self) -> ConvSpec {
        self.bias = None;
        self
    }

    pub(super) fn attrs(&self) -> Attrs {
        self.attrs.clone()
    }
}

/// A pooling window. The stride is the kernel unless given.
#[derive(Clone, Debug)]
pub struct PoolSpec {
    attrs: Attrs,
    include_pad: bool,
}

impl PoolSpec {
    pub fn new(kernel: impl Into<Spatial>) -> PoolSpec {
        let attrs = Attrs::from([("kernel".to_string(), kernel.into().attr())]);
        PoolSpec { attrs, include_pad: false }
    }

    fn set(mut self, name: &str, value: AttrValue) -> PoolSpec {
        self.attrs.insert(name.to_string(), value);
        self
    }

    pub fn stride(self, stride: impl Into<Spatial>) -> PoolSpec {
        self.set("stride", stride.into().attr())
    }

    /// Amounts for all axes, an axis each, or before each axis and then after each axis.
    pub fn pad(self, pad: impl Into<Spatial>) -> PoolSpec {
        self.set("pad", pad.into().attr())
    }

    /// Round the output size up.
    pub fn ceil(self) -> PoolSpec {
        self.set("ceil", true.into())
    }

    /// Means divide by the whole window, padding included. Without effect on maxima.
    pub fn count_include_pad(mut self) -> PoolSpec {
        self.include_pad = true;
        self
    }

    pub(super) fn attrs(self, mean: bool) -> Attrs {
        let include_pad = self.include_pad;
        if mean && include_pad { self.set("count_include_pad", true.into()).attrs } else { self.attrs }
    }
}
