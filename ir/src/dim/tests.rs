//! The normal form, divisibility from facts, and overflow.

use super::*;

fn facts() -> DimFacts {
    let mut f = DimFacts::default();
    f.entry("H").modulus = 4;
    f.entry("H").min = 4;
    let odd = f.entry("K");
    (odd.modulus, odd.remainder) = (4, 1);
    f
}

fn d(text: &str) -> Dim {
    Dim::parse(text).unwrap()
}

#[test]
fn sums_have_one_form() {
    let (h, w) = (Dim::sym("H"), Dim::sym("W"));
    let a = h.add(&w).unwrap().mul(&Dim::Const(2)).unwrap();
    let b = w.mul(&2.into()).unwrap().add(&h).unwrap().add(&h).unwrap();
    assert_eq!(a, b);
    assert_eq!(a.to_string(), "2*H + 2*W");
    assert_eq!(a.sub(&b).unwrap(), Dim::Const(0));
}

#[test]
fn exact_quotients_need_facts() {
    let f = facts();
    let half = d("H").div_exact(&2.into(), &f).unwrap();
    assert_eq!(half.to_string(), "H/2");
    assert_eq!(half.mul(&2.into()).unwrap(), d("H"));
    assert!(d("W").div_exact(&2.into(), &f).is_err());
    assert!(half.div_exact(&4.into(), &f).is_err());
    assert_eq!(d("K").sub(&1.into()).unwrap().div_exact(&4.into(), &f).unwrap().to_string(), "(K - 1)/4");
    assert_eq!(d("N*C*H").div_exact(&d("N*H"), &f).unwrap(), d("C"));
}

#[test]
fn floors_normalise() {
    let f = facts();
    // A stride-2 convolution with padding 1 and kernel 3: floor((H - 1)/2) + 1.
    let out = d("H - 1").floor_div(2, &f).unwrap().add(&1.into()).unwrap();
    assert_eq!(out.to_string(), "H/2");
    let w = d("W - 1").floor_div(2, &f).unwrap().add(&1.into()).unwrap();
    assert_eq!(w, d("W").ceil_div(2, &f).unwrap());
    assert_eq!(w.to_string(), "floor((W + 1)/2)");
    assert_eq!(w.floor_div(2, &f).unwrap().to_string(), "floor((W + 1)/4)");
    assert_eq!(d("6*W + 5").floor_div(4, &f).unwrap().to_string(), "floor(3*W/2) + 1");
}

#[test]
fn floors_agree_with_integers() {
    let f = facts();
    for text in ["W - 1", "3*W + 2", "6*W + 5", "H + W", "W*W - 7", "H - 3"] {
        for div in [1, 2, 3, 4, 6, 7] {
            let q = d(text).floor_div(div, &f).unwrap();
            let again = q.floor_div(3, &f).unwrap();
            for (h, w) in [(4, 1), (8, 5), (12, 6), (16, 11), (20, 24)] {
                let at = |n: &str| Some(if n == "H" { h } else { w });
                let value = d(text).eval(&at).unwrap();
                assert_eq!(q.eval(&at).unwrap(), value.div_euclid(div), "{text} / {div} at {h}, {w}: {q}");
                assert_eq!(again.eval(&at).unwrap(), value.div_euclid(div).div_euclid(3));
            }
        }
    }
}

#[test]
fn printing_reads_back() {
    let f = facts();
    for dim in [
        d("2*H + 3*W - 1"),
        d("H").div_exact(&2.into(), &f).unwrap().add(&1.into()).unwrap(),
        d("W*W + 3").floor_div(5, &f).unwrap().mul(&d("N")).unwrap(),
        d("-1 + N"),
        d("W").floor_div(3, &f).unwrap().add(&d("K")).unwrap().floor_div(7, &f).unwrap(),
    ] {
        assert_eq!(Dim::parse(&dim.to_string()).unwrap(), dim, "{dim}");
    }
}

#[test]
fn overflow_is_an_error() {
    assert_eq!(Dim::Const(i64::MAX).add(&1.into()), Err(DimError::Overflow));
    assert_eq!(d("H").mul(&Dim::Const(i64::MAX)).unwrap().mul(&3.into()), Err(DimError::Overflow));
    assert!(Dim::parse("((((").is_err());
    assert!(Dim::parse(&"(".repeat(60_000)).is_err());
    assert!(Dim::parse("H/0").is_err());
}

#[test]
fn bounds_follow_facts() {
    let mut f = facts();
    f.entry("H").max = Some(64);
    assert_eq!(d("2*H - 3").bounds(&f), (Some(5), Some(125)));
    assert_eq!(d("W + 1").bounds(&f), (Some(2), None));
    assert_eq!(d("H - W").bounds(&f), (None, Some(63)));
}

#[test]
fn violations_say_what_is_near() {
    let f = facts();
    assert_eq!(f.violation("H", 8), None);
    let text = f.violation("H", 9).unwrap();
    assert!(text.contains("8 or 12"), "{text}");
}
