//! Comparing what was read with the model, and saying where the first wrong byte is and where it
//! comes from.

use std::fmt;

use super::operation::Range;
use super::pattern::{self, Origin};

/// Bytes shown from the first wrong one on.
const SHOWN_BYTES: usize = 16;

/// A read that did not return what the model has.
#[derive(Debug)]
pub(super) struct Difference {
    range: Range,
    /// How many bytes were to come, and how many came.
    expected_bytes: usize,
    found_bytes: usize,
    wrong: Option<Box<Wrong>>,
}

/// The first byte that is wrong.
#[derive(Debug)]
struct Wrong {
    offset: u64,
    /// How many bytes of the read are wrong.
    count: usize,
    expected: Vec<u8>,
    found: Vec<u8>,
    expected_origin: Option<Origin>,
    found_origin: Option<Origin>,
}

impl std::error::Error for Difference {}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { at, bytes } = self.range;
        write!(f, "DIFFERENCE: {bytes} bytes read at {at}")?;
        if self.expected_bytes != self.found_bytes {
            write!(f, "; {} bytes expected, {} found", self.expected_bytes, self.found_bytes)?;
            let end = |count: usize| at + count as u64;
            write!(f, " (up to {}, up to {})", end(self.expected_bytes), end(self.found_bytes))?;
        }
        let Some(wrong) = &self.wrong else { return Ok(()) };
        let in_read = wrong.offset - at;
        write!(f, "\n  first wrong byte at {} ({in_read} in the read), {} wrong", wrong.offset, wrong.count)?;
        let shown = |f: &mut fmt::Formatter<'_>, name: &str, bytes: &[u8], origin: &Option<Origin>| {
            write!(f, "\n  {name} {bytes:02x?}")?;
            match origin {
                Some(Origin { number, offset }) => write!(f, " of operation {number} for offset {offset}"),
                None if bytes.iter().all(|byte| *byte == 0) => f.write_str(" (zeros)"),
                None => f.write_str(" of no operation"),
            }
        };
        shown(f, "expected", &wrong.expected, &wrong.expected_origin)?;
        shown(f, "found   ", &wrong.found, &wrong.found_origin)
    }
}

/// Compares `found`, the answer to a read of `range` at operation `newest`, with `expected`.
pub(super) fn compare(
    range: Range,
    expected: &[u8],
    found: &[u8],
    salt: u64,
    newest: u32,
) -> Result<(), Difference> {
    if expected == found {
        return Ok(());
    }
    let differs = |(one, other): (&u8, &u8)| one != other;
    let wrong = expected.iter().zip(found).position(differs).map(|first| {
        let part = |bytes: &[u8]| bytes[first..bytes.len().min(first + SHOWN_BYTES)].to_vec();
        let origin = |bytes: &[u8]| {
            let words = words_at(bytes, range.at, first);
            words.into_iter().flatten().find_map(|word| pattern::origin(word, salt, newest))
        };
        Box::new(Wrong {
            offset: range.at + first as u64,
            count: expected.iter().zip(found).filter(|pair| differs(*pair)).count(),
            expected: part(expected),
            found: part(found),
            expected_origin: origin(expected),
            found_origin: origin(found),
        })
    });
    Err(Difference { range, expected_bytes: expected.len(), found_bytes: found.len(), wrong })
}

/// The aligned word of the file that byte `first` of a read at `at` lies in, and the next one: the
/// wrong bytes may begin within the former.
fn words_at(bytes: &[u8], at: u64, first: usize) -> [Option<[u8; 8]>; 2] {
    let into = ((at + first as u64) % 8) as usize;
    let word = |start: usize| bytes.get(start..start + 8)?.try_into().ok();
    [first.checked_sub(into).and_then(word), word(first + 8 - into)]
}

#[cfg(test)]
mod tests {
    use super::{Range, compare, pattern};

    #[test]
    fn says_where_and_from_whom() {
        let range = Range { at: 1003, bytes: 100 };
        let (mut expected, mut found) = (vec![0; 100], vec![0; 100]);
        pattern::fill(&mut expected, 1003, 1, 8);
        pattern::fill(&mut found, 1003, 1, 8);
        assert!(compare(range, &expected, &found, 1, 9).is_ok());
        pattern::fill(&mut found[40..], 1043, 1, 3);
        let text = compare(range, &expected, &found, 1, 9).unwrap_err().to_string();
        assert!(text.contains("first wrong byte at 1043 (40 in the read)"), "{text}");
        assert!(text.contains("of operation 8") && text.contains("of operation 3"), "{text}");
        found[40..].fill(0);
        let text = compare(range, &expected, &found, 1, 9).unwrap_err().to_string();
        assert!(text.contains("(zeros)"), "{text}");
    }

    #[test]
    fn a_read_that_ends_early_differs() {
        let range = Range { at: 0, bytes: 100 };
        let text = compare(range, &[7; 100], &[7; 60], 1, 9).unwrap_err().to_string();
        assert!(text.contains("100 bytes expected, 60 found"), "{text}");
        assert!(!text.contains("wrong byte"), "{text}");
    }
}
