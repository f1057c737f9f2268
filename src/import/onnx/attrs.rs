//! Reads the attributes of one node: typed, with defaults, and noticing what was never read.

use super::problem::Refusal;
use super::proto::{AttributeProto, AttributeType, GraphProto, TensorProto};
use std::cell::RefCell;

/// The attributes of a node.
pub struct Attrs<'a> {
    list: &'a [AttributeProto],
    /// Names that were asked for. What a node has beside them is not understood, so it must not be ignored.
    asked: RefCell<Vec<&'static str>>,
}

type Read<T> = Result<T, Refusal>;

impl<'a> Attrs<'a> {
    pub fn new(list: &'a [AttributeProto]) -> Attrs<'a> {
        Attrs { list, asked: RefCell::default() }
    }

    pub fn all(&self) -> &'a [AttributeProto] {
        self.list
    }

    fn find(&self, name: &'static str) -> Option<&'a AttributeProto> {
        self.asked.borrow_mut().push(name);
        self.list.iter().find(|a| a.name == name)
    }

    /// Names the attributes whose presence changes nothing here.
    pub fn ignore(&self, names: &[&'static str]) {
        self.asked.borrow_mut().extend(names);
    }

    pub fn has(&self, name: &'static str) -> bool {
        self.find(name).is_some()
    }

    /// Names that the node has and nobody asked for, and names that it has twice.
    pub fn unread(&self) -> Vec<&'a str> {
        let asked = self.asked.borrow();
        let twice = |i: usize| self.list[..i].iter().any(|b| b.name == self.list[i].name);
        (0..self.list.len())
            .filter(|i| !asked.iter().any(|n| *n == self.list[*i].name) || twice(*i))
            .map(|i| self.list[i].name.as_str())
            .collect()
    }

    pub fn opt_int(&self, name: &'static str) -> Read<Option<i64>> {
        self.typed(name, AttributeType::Int, Some(0), |a| a.i)
    }

    pub fn int(&self, name: &'static str, default: i64) -> Read<i64> {
        Ok(self.opt_int(name)?.unwrap_or(default))
    }

    pub fn need_int(&self, name: &'static str) -> Read<i64> {
        self.opt_int(name)?.ok_or_else(|| missing(name))
    }

    /// An integer that stands for yes or no.
    pub fn flag(&self, name: &'static str, default: bool) -> Read<bool> {
        match self.opt_int(name)? {
            None => Ok(default),
            Some(v @ (0 | 1)) => Ok(v == 1),
            Some(v) => Err(Refusal::malformed(format!("the attribute `{name}` is {v}, neither 0 nor 1"))),
        }
    }

    pub fn opt_float(&self, name: &'static str) -> Read<Option<f64>> {
        self.typed(name, AttributeType::Float, Some(0.0), |a| a.f.map(f64::from))
    }

    /// A number; `default` as the specification writes it, so that it is rounded to a float as the file's values are.
    pub fn float(&self, name: &'static str, default: f32) -> Read<f64> {
        Ok(self.opt_float(name)?.unwrap_or(f64::from(default)))
    }

    pub fn opt_text(&self, name: &'static str) -> Read<Option<&'a str>> {
        let bytes = self.typed(name, AttributeType::String, Some([].as_slice()), |a| a.s.as_deref())?;
        let utf8 = bytes.map(std::str::from_utf8).transpose();
        utf8.map_err(|_| Refusal::malformed(format!("the attribute `{name}` is no UTF-8 text")))
    }

    pub fn text(&self, name: &'static str, default: &'static str) -> Read<&'a str> {
        Ok(self.opt_text(name)?.unwrap_or(default))
    }

    /// One of `words`; the first is the default.
    pub fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Read<T> {
        let Some(text) = self.opt_text(name)? else { return Ok(words[0].1) };
        words.iter().find(|(w, _)| *w == text).map(|(_, v)| *v).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(w, _)| *w).collect();
            Refusal::attribute(format!("`{name}: {text}` is not supported"))
                .help(format!("supported are {}", known.join(", ")))
        })
    }

    pub fn ints(&self, name: &'static str) -> Read<Option<&'a [i64]>> {
        self.typed(name, AttributeType::Ints, Some(&[]), |a| Some(a.ints.as_slice()))
    }

    pub fn floats(&self, name: &'static str) -> Read<Option<&'a [f32]>> {
        self.typed(name, AttributeType::Floats, Some(&[]), |a| Some(a.floats.as_slice()))
    }

    pub fn tensor(&self, name: &'static str) -> Read<Option<&'a TensorProto>> {
        self.typed(name, AttributeType::Tensor, None, |a| a.t.as_deref())
    }

    pub fn graph(&self, name: &'static str) -> Read<Option<&'a GraphProto>> {
        self.typed(name, AttributeType::Graph, None, |a| a.g.as_deref())
    }

    fn typed<T>(
        &self,
        name: &'static str,
        kind: AttributeType,
        empty: Option<T>,
        get: impl Fn(&'a AttributeProto) -> Option<T>,
    ) -> Read<Option<T>> {
        let Some(a) = self.find(name) else { return Ok(None) };
        // Files of the first IR versions do not name the type; some writers leave out a value that is zero or empty.
        let value = match a.r#type {
            t if t == kind as i32 => get(a).or(empty),
            t if t == AttributeType::Undefined as i32 => get(a),
            _ => None,
        };
        match value {
            Some(v) => Ok(Some(v)),
            None => Err(Refusal::malformed(format!("the attribute `{name}` is not of the type {kind:?}"))),
        }
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::malformed(format!("the attribute `{name}` is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
        AttributeProto { name: name.into(), r#type: kind as i32, ..Default::default() }
    }

    #[test]
    fn values_and_defaults() {
        let list = [
            AttributeProto { i: Some(3), ..attribute("group", AttributeType::Int) },
            AttributeProto { f: Some(0.5), ..attribute("alpha", AttributeType::Float) },
            AttributeProto { s: Some("CRD".into()), ..attribute("mode", AttributeType::String) },
            AttributeProto { ints: vec![1, 2], ..attribute("pads", AttributeType::Undefined) },
        ];
        let a = Attrs::new(&list);
        assert_eq!(a.int("group", 1).unwrap(), 3);
        assert_eq!(a.int("axis", -1).unwrap(), -1);
        assert_eq!(a.float("alpha", 1.0).unwrap(), 0.5);
        assert_eq!(a.float("beta", 0.1).unwrap(), f64::from(0.1f32));
        assert_eq!(a.word("mode", &[("DCR", 0), ("CRD", 1)]).unwrap(), 1);
        assert!(a.word("mode", &[("DCR", 0)]).is_err());
        assert_eq!(a.ints("pads").unwrap(), Some([1, 2].as_slice()));
        assert!(a.unread().is_empty());
        assert!(a.int("alpha", 1).is_err());
        assert!(a.flag("group", true).is_err());
    }

    #[test]
    fn what_nobody_asked_for_is_told() {
        let list = [attribute("new", AttributeType::Ints), attribute("axis", AttributeType::Ints)];
        let a = Attrs::new(&list);
        a.ignore(&["axis"]);
        assert_eq!(a.unread(), ["new"]);
        let twice = [attribute("axis", AttributeType::Ints), attribute("axis", AttributeType::Ints)];
        let a = Attrs::new(&twice);
        a.ignore(&["axis"]);
        assert_eq!(a.unread(), ["axis"]);
    }
}
