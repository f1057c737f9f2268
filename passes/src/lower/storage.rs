//! What a plan is built from before memory is assigned: storages, packs and draft steps.

use super::LowerError;
use super::demand::Fill;
use super::view::{Axis, View};
use rectify_ir::DType;
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::{Cost, Descriptor, PackFormat};
use rectify_ir::literal::Literal;
use rectify_ir::plan::{Args, Candidate, Pack, PackId, PackSource};
use std::collections::HashMap;

/// Index of a storage in [`Draft::storages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StorageId(pub u32);

/// Memory that holds one tensor, or the parts of a concatenation.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub place: Home,
    /// What kernels read and write here.
    pub element: DType,
    pub bytes: i64,
    /// Bytes behind the end that kernels read and ignore.
    pub slack: i64,
    pub about: String,
}

/// Where a storage will live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Input(u32),
    Output(u32),
    Arena,
    Pack(PackId),
}

/// Order of elements in a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// Row-major.
    Plain,
    /// Axis 1 in blocks of the target's lanes: `[n][channel block][spatial…][lane]`.
    Blocked,
}

/// Elements around the spatial axes (from axis 2 on) that are physically there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Halo {
    pub before: Vec<i64>,
    pub after: Vec<i64>,
}

impl Halo {
    pub fn none(rank: usize) -> Halo {
        let spatial = rank.saturating_sub(2);
        Halo { before: vec![0; spatial], after: vec![0; spatial] }
    }

    pub fn is_none(&self) -> bool {
        self.before.iter().chain(&self.after).all(|n| *n == 0)
    }

    /// The least halo that holds both.
    pub fn grow(&mut self, other: &Halo) {
        let widen = |a: &mut Vec<i64>, b: &[i64]| {
            a.resize(a.len().max(b.len()), 0);
            for (x, y) in a.iter_mut().zip(b) {
                *x = (*x).max(*y);
            }
        };
        widen(&mut self.before, &other.before);
        widen(&mut self.after, &other.after);
    }
}

/// One kernel call before its buffers have places.
#[derive(Clone, Debug)]
pub(crate) struct DraftStep {
    pub kernel: Descriptor,
    pub label: String,
    pub node: NodeId,
    /// One per pointer, the output first: storage and byte offset.
    pub pointers: Vec<(StorageId, i64)>,
    pub args: Args,
    pub cost: Cost,
    pub multiply_adds: u64,
    /// Algorithms that were compared, the chosen one first.
    pub candidates: Vec<Candidate>,
    /// Operand pointers whose elements the step reads exactly where it writes: the result may take their place.
    pub in_place: Vec<usize>,
    /// The step writes the halo of its storage with this value.
    pub fills: Option<Fill>,
    /// The step writes bytes that earlier steps wrote to its storage.
    pub overwrites: bool,
}

/// A plan in the making.
#[derive(Debug)]
pub(crate) struct Draft {
    pub lanes: i64,
    pub storages: Vec<Storage>,
    pub packs: Vec<Pack>,
    pub steps: Vec<DraftStep>,
    pack_ids: HashMap<(PackKey, PackFormat), StorageId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PackKey {
    Value(Value),
    Literal(Literal),
}

/// More bytes than any address space holds.
const MAX_BYTES: i64 = 1 << 46;

impl Draft {
    pub fn new(lanes: i64) -> Draft {
        Draft { lanes, storages: vec![], packs: vec![], steps: vec![], pack_ids: HashMap::new() }
    }

    pub fn storage(&self, id: StorageId) -> &Storage {
        &self.storages[id.0 as usize]
    }

    pub fn add_storage(&mut self, place: Home, bytes: i64, about: String) -> StorageId {
        self.storages.push(Storage { place, element: DType::F32, bytes, slack: 0, about });
        StorageId(self.storages.len() as u32 - 1)
    }

    /// Makes a storage for a tensor of f32 of `shape` in this form with this halo; the view is of the tensor itself.
    pub fn tensor(
        &mut self,
        place: Home,
        shape: &[i64],
        form: Form,
        halo: &Halo,
        label: &str,
    ) -> Result<View, LowerError> {
        self.typed_tensor(DType::F32, place, shape, form, halo, label)
    }

    /// As [`Draft::tensor`], of elements of any type; blocks and halos are of f32 alone.
    pub fn typed_tensor(
        &mut self,
        element: DType,
        place: Home,
        shape: &[i64],
        form: Form,
        halo: &Halo,
        label: &str,
    ) -> Result<View, LowerError> {
        let (axes, base, bytes) = geometry(shape, form, halo, self.lanes, element.size_bytes() as i64)
            .ok_or_else(|| LowerError::TooLarge { node: label.to_string(), shape: shape.to_vec() })?;
        let about = about(shape, form, halo, label, self.lanes);
        let storage = self.add_storage(place, bytes, about);
        self.storages[storage.0 as usize].element = element;
        Ok(View { storage, base, axes })
    }

    /// The storage of a tensor that the model gives, whose elements are not f32: its bytes as they are.
    pub fn pack_elements(&mut self, literal: &Literal) -> StorageId {
        let words = literal.bytes.chunks(4).map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            f32::from_le_bytes(word)
        });
        let words: Vec<f32> = words.collect();
        let id = self.pack_literal(&words, PackFormat::Raw { elements: words.len() as u64 });
        // Equal words of another type are another storage.
        let known = &self.storages[id.0 as usize];
        let id = match known.element == literal.dtype {
            true => id,
            false => self.add_storage(known.place, known.bytes, known.about.clone()),
        };
        self.storages[id.0 as usize].element = literal.dtype;
        id
    }

    /// The storage of a table of numbers of f32 or f64.
    pub fn pack_numbers(&mut self, values: &[f64], dtype: DType) -> StorageId {
        if dtype == DType::F64 {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            return self.pack_elements(&Literal { dtype, shape: vec![values.len()], bytes });
        }
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        self.pack_literal(&values, PackFormat::Raw { elements: values.len() as u64 })
    }

    /// The storage of a packed parameter; the same one for the same value and format.
    pub fn pack_value(
        &mut self,
        value: Value,
        key: impl FnOnce() -> String,
        format: PackFormat,
    ) -> StorageId {
        if let Some(id) = self.pack_ids.get(&(PackKey::Value(value), format.clone())) {
            return *id;
        }
        let id = self.add_pack(PackSource::Value(value), key(), format.clone());
        self.pack_ids.insert((PackKey::Value(value), format), id);
        id
    }

    /// The storage of a table of numbers in this format.
    pub fn pack_literal(&mut self, values: &[f32], format: PackFormat) -> StorageId {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let literal = Literal { dtype: rectify_ir::DType::F32, shape: vec![values.len()], bytes };
        let key = (PackKey::Literal(literal.clone()), format.clone());
        if let Some(id) = self.pack_ids.get(&key) {
            return *id;
        }
        let name = super::packs::literal_key(&literal);
        let id = self.add_pack(PackSource::Literal(literal), name, format);
        self.pack_ids.insert(key, id);
        id
    }

    fn add_pack(&mut self, source: PackSource, key: String, format: PackFormat) -> StorageId {
        let bytes = 4 * format.len();
        let about = format!("pack of {key}");
        let id = PackId(self.packs.len() as u32);
        self.packs.push(Pack { source, format, key, bytes });
        self.add_storage(Home::Pack(id), bytes as i64, about)
    }

    /// Adds a step after checking it against its descriptor.
    pub fn push(&mut self, mut step: DraftStep) -> Result<(), LowerError> {
        step.kernel.round_constants();
        let illegal = |e: rectify_ir::kernel::Illegal| LowerError::Illegal {
            node: step.label.clone(),
            kernel: step.kernel.to_string(),
            reason: e.to_string(),
        };
        step.kernel.validate().map_err(illegal)?;
        self.steps.push(step);
        Ok(())
    }
}

/// Axes, offset of the first element and bytes of a tensor with a halo.
fn geometry(
    shape: &[i64],
    form: Form,
    halo: &Halo,
    lanes: i64,
    element: i64,
) -> Option<(Vec<Axis>, i64, i64)> {
    let padded = |axis: usize| -> Option<i64> {
        let Some(s) = axis.checked_sub(2) else { return Some(shape[axis]) };
        let around = halo.before.get(s).unwrap_or(&0).checked_add(*halo.after.get(s).unwrap_or(&0))?;
        shape[axis].checked_add(around)
    };
    let mut axes = vec![Axis::broadcast(1); shape.len()];
    let mut base = 0;
    let mut stride = if form == Form::Blocked { 4 * lanes } else { element };
    let blocked = form == Form::Blocked;
    for axis in (0..shape.len()).rev() {
        if blocked && axis == 1 {
            axes[1] = Axis::blocked(shape[1], lanes, stride);
            stride = stride.checked_mul((shape[1] + lanes - 1) / lanes)?;
            continue;
        }
        axes[axis] = Axis::plain(shape[axis], stride);
        base += axis.checked_sub(2).and_then(|s| halo.before.get(s)).unwrap_or(&0) * stride;
        stride = stride.checked_mul(padded(axis)?).filter(|bytes| *bytes <= MAX_BYTES)?;
    }
    Some((axes, base, stride))
}

fn about(shape: &[i64], form: Form, halo: &Halo, label: &str, lanes: i64) -> String {
    let mut text = format!("{label} {shape:?}");
    match form {
        Form::Plain => {}
        Form::Blocked => text += &format!(" c{lanes}"),
    }
    if !halo.is_none() {
        text += &format!(" halo {:?}+{:?}", halo.before, halo.after);
    }
    text
}
