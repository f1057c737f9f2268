//! Attributes of resize: read and written.

use super::*;

impl Reader<'_> {
    pub(super) fn resize(&self) -> Result<Op, AttrError> {
        let rank = self.spatial_rank()?;
        let target = match (self.attrs.get("scale"), self.attrs.get("size")) {
            (Some(_), None) => ResizeTarget::Scales(self.scales(rank)?),
            (None, Some(_)) => ResizeTarget::Sizes(self.dims("size")?),
            (Some(_), Some(_)) => {
                ResizeTarget::Both { sizes: self.dims("size")?, scales: self.scales(rank)? }
            }
            (None, None) => {
                return Err(AttrError::at("scale", "give either `scale` or `size`")
                    .help("`resize(scale: 2)` or `resize(size: [2*H, 2*W])`"));
            }
        };
        let entries = match &target {
            ResizeTarget::Scales(s) => s.len(),
            ResizeTarget::Sizes(s) | ResizeTarget::Both { sizes: s, .. } => s.len(),
        };
        if entries != rank {
            return Err(AttrError::at("scale", format!("{entries} entries for {rank} spatial axes")));
        }
        let nearest = self.word(
            "nearest",
            &[
                ("round_prefer_floor", NearestMode::RoundPreferFloor),
                ("round_prefer_ceil", NearestMode::RoundPreferCeil),
                ("floor", NearestMode::Floor),
                ("ceil", NearestMode::Ceil),
            ],
        )?;
        let mode = self.word(
            "mode",
            &[
                ("nearest", ResizeMode::Nearest(nearest)),
                ("linear", ResizeMode::Linear),
                ("cubic", ResizeMode::Cubic { a: self.float("cubic_a", -0.75)? }),
            ],
        )?;
        let roi = match self.attrs.get("roi") {
            None => [vec![Scalar(0.0); rank], vec![Scalar(1.0); rank]].concat(),
            Some(_) => self.numbers("roi", 2 * rank)?,
        };
        let coords = self.word(
            "coords",
            &[
                ("half_pixel", ResizeCoords::HalfPixel),
                ("pytorch_half_pixel", ResizeCoords::PytorchHalfPixel),
                ("half_pixel_symmetric", ResizeCoords::HalfPixelSymmetric),
                ("pixel_centre", ResizeCoords::PixelCentre),
                ("align_corners", ResizeCoords::AlignCorners),
                ("asymmetric", ResizeCoords::Asymmetric),
                ("crop_and_resize", ResizeCoords::CropAndResize(roi)),
            ],
        )?;
        let (antialias, exclude_outside) = (self.bool("antialias")?, self.bool("exclude_outside")?);
        let extrapolation = self.float("extrapolation", 0.0)?;
        Ok(Op::Resize(ResizeAttrs { target, mode, coords, antialias, exclude_outside, extrapolation }))
    }

    /// Positive factors, one a spatial axis.
    fn scales(&self, rank: usize) -> Result<Vec<Scalar>, AttrError> {
        let scales = self.numbers("scale", rank)?;
        match scales.iter().find(|s| !(s.0 > 0.0 && s.0 <= 65536.0)) {
            Some(s) => Err(AttrError::at("scale", format!("`scale` must be positive, not {s}"))),
            None => Ok(scales),
        }
    }

    /// A list of numbers; a single one stands for `count` of them.
    fn numbers(&self, name: &'static str, count: usize) -> Result<Vec<Scalar>, AttrError> {
        let number = |v: &AttrValue| match v {
            AttrValue::Int(i) => Ok(Scalar(*i as f64)),
            AttrValue::Float(f) => Ok(Scalar(*f)),
            v => Err(AttrError::at(name, format!("`{name}` must be a number, not {}", v.describe()))),
        };
        match self.need(name)? {
            AttrValue::List(l) => l.iter().map(number).collect(),
            v => Ok(vec![number(v)?; count]),
        }
    }
}

/// What is written of a resize: modes always, what only some of them have where it is there.
pub(super) fn resize_attrs(a: &ResizeAttrs) -> Vec<(&'static str, AttrValue)> {
    let word = |w: &str| AttrValue::Word(w.to_string());
    let numbers = |s: &[Scalar]| AttrValue::List(s.iter().map(|v| AttrValue::Float(v.0)).collect());
    let dims = |s: &[Dim]| AttrValue::List(s.iter().map(|d| AttrValue::Dim(d.clone())).collect());
    let mut attrs = match &a.target {
        ResizeTarget::Scales(s) => vec![("scale", numbers(s))],
        ResizeTarget::Sizes(s) => vec![("size", dims(s))],
        ResizeTarget::Both { sizes, scales } => vec![("scale", numbers(scales)), ("size", dims(sizes))],
    };
    match a.mode {
        ResizeMode::Nearest(n) => {
            let n = match n {
                NearestMode::RoundPreferFloor => "round_prefer_floor",
                NearestMode::RoundPreferCeil => "round_prefer_ceil",
                NearestMode::Floor => "floor",
                NearestMode::Ceil => "ceil",
            };
            attrs.extend([("mode", word("nearest")), ("nearest", word(n))]);
        }
        ResizeMode::Linear => attrs.push(("mode", word("linear"))),
        ResizeMode::Cubic { a } => {
            attrs.extend([("mode", word("cubic")), ("cubic_a", AttrValue::Float(a.0))]);
        }
    }
    let coords = match &a.coords {
        ResizeCoords::HalfPixel => "half_pixel",
        ResizeCoords::PytorchHalfPixel => "pytorch_half_pixel",
        ResizeCoords::AlignCorners => "align_corners",
        ResizeCoords::Asymmetric => "asymmetric",
        ResizeCoords::HalfPixelSymmetric => "half_pixel_symmetric",
        ResizeCoords::PixelCentre => "pixel_centre",
        ResizeCoords::CropAndResize(_) => "crop_and_resize",
    };
    attrs.push(("coords", word(coords)));
    if let ResizeCoords::CropAndResize(roi) = &a.coords {
        attrs.extend([("roi", numbers(roi)), ("extrapolation", AttrValue::Float(a.extrapolation.0))]);
    }
    if a.antialias {
        attrs.push(("antialias", AttrValue::Bool(true)));
    }
    if a.exclude_outside {
        attrs.push(("exclude_outside", AttrValue::Bool(true)));
    }
    attrs
}
