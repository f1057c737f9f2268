//! Names chosen by patterns: `*` stands for any text, `?` for one character.

/// Whether the whole name matches the pattern.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last star, and the text from which it matches no more than it has to.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            Some(_) | None => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_take_any_text() {
        for (pattern, name) in [
            ("conv*.weight", "conv1.a.weight"),
            ("*", ""),
            ("*.slope", "a.slope"),
            ("a?c*", "abc"),
            ("*ab*ab", "xabyabab"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("conv*.weight", "conv1.bias"), ("", "a"), ("a?", "a"), ("a", "ab"), ("*b", "abc")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    /// A pattern of many stars takes no longer than the product of the lengths.
    #[test]
    fn many_stars_end() {
        assert!(!matches(&"*a".repeat(50), &"b".repeat(10_000)));
        assert!(matches(&"*a".repeat(50), &"a".repeat(10_000)));
    }
}
