//! The constants of a function: they lie behind its code and are addressed relative to the instruction pointer.

/// What an instruction refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constant {
    /// Four bytes, for instructions that broadcast.
    Element(u32),
    /// The element in eight lanes, for AVX2 instructions that do not.
    Vector(u32),
    /// The table that lane masks of counts are read from.
    MaskTable,
}

/// References to constants, to be resolved once the code's length is known.
#[derive(Debug, Default)]
pub struct Constants {
    known: Vec<Constant>,
    references: Vec<Reference>,
}

#[derive(Debug)]
struct Reference {
    /// Where in the code the 32-bit displacement stands, and what it counts from.
    at: usize,
    end: usize,
    constant: usize,
}

impl Constants {
    /// Notes that the displacement at `at` of the instruction that ends at `end` means a constant.
    pub fn refer(&mut self, constant: Constant, at: usize, end: usize) {
        let index = self.known.iter().position(|known| *known == constant).unwrap_or_else(|| {
            self.known.push(constant);
            self.known.len() - 1
        });
        self.references.push(Reference { at, end, constant: index });
    }

    /// Appends the constants to the code and fills in the displacements.
    pub fn place(self, code: &mut Vec<u8>, wide: bool) {
        if self.known.is_empty() {
            return;
        }
        code.resize(code.len().next_multiple_of(64), 0xcc);
        // Whole vectors come first, so that they are aligned.
        let mut order: Vec<usize> = (0..self.known.len()).collect();
        order.sort_by_key(|&index| matches!(self.known[index], Constant::Element(_)));
        let mut offsets = vec![0; self.known.len()];
        for index in order {
            offsets[index] = code.len();
            match self.known[index] {
                Constant::Element(bits) => code.extend(bits.to_le_bytes()),
                Constant::Vector(bits) => code.extend(bits.to_le_bytes().repeat(8)),
                Constant::MaskTable if wide => {
                    // Entry n has the n lowest bits set; padded to keep what follows aligned.
                    (0..=16u32)
                        .for_each(|count| code.extend(((1u32 << count) - 1).to_le_bytes()[..2].iter()));
                    code.resize(code.len().next_multiple_of(32), 0);
                }
                Constant::MaskTable => {
                    code.extend([0xff; 32]);
                    code.extend([0; 32]);
                }
            }
        }
        for reference in self.references {
            let distance = offsets[reference.constant] as i64 - reference.end as i64;
            // Functions are far below 2 GiB.
            code[reference.at..reference.at + 4].copy_from_slice(&(distance as i32).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displacements_point_at_the_constants() {
        let mut constants = Constants::default();
        let mut code = vec![0x90; 20];
        constants.refer(Constant::Element(7), 4, 8);
        constants.refer(Constant::Vector(9), 12, 16);
        constants.refer(Constant::Element(7), 16, 20);
        constants.place(&mut code, false);
        let read = |at: usize, end: i32| {
            let distance = i32::from_le_bytes([code[at], code[at + 1], code[at + 2], code[at + 3]]);
            let place = (end + distance) as usize;
            u32::from_le_bytes([code[place], code[place + 1], code[place + 2], code[place + 3]])
        };
        assert_eq!((read(4, 8), read(12, 16), read(16, 20)), (7, 9, 7));
    }
}
