//! Every `unsafe` of the tree, by file: a part of `cargo xtask tidy`.
//!
//! The product has it under `env/src/os` only. Elsewhere are shims of tools that are not part of
//! it: an allocator that counts, mapped memory in tests of guests, calls that tell who the user is.
//! A file that is not in the list, or has another number, is a finding: it is looked at again, and
//! the list changed with it.

/// Files and how often the word stands in their code.
const PINNED: &[(&str, usize)] = &[
    ("conformance/fuzz/src/allocation.rs", 9),
    ("conformance/fuzz/src/main.rs", 1),
    ("conformance/sim/src/main.rs", 4),
    ("env/src/os/addresses.rs", 1),
    ("env/src/os/allocator.rs", 1),
    ("env/src/os/clock.rs", 1),
    ("env/src/os/descriptors.rs", 3),
    ("env/src/os/entropy.rs", 1),
    ("env/src/os/file_calls.rs", 8),
    ("env/src/os/file_modes.rs", 1),
    ("env/src/os/guard.rs", 2),
    ("env/src/os/guard_line.rs", 11),
    ("env/src/os/interfaces.rs", 10),
    ("env/src/os/netlink.rs", 4),
    ("env/src/os/raw_packets.rs", 6),
    ("env/src/os/silence.rs", 3),
    ("env/src/os/tokio_net.rs", 2),
    ("env/src/os/uring_operation.rs", 2),
    ("env/src/os/uring_ring.rs", 6),
    ("xtask/src/bench/cpu.rs", 1),
    ("xtask/src/fuzz.rs", 1),
    ("xtask/src/guest/again.rs", 1),
    ("xtask/src/guest/files.rs", 1),
    ("xtask/src/guest/fsx/mapped.rs", 9),
    ("xtask/src/guest/fsx/subject.rs", 3),
    ("xtask/src/guest/lock.rs", 1),
    ("xtask/src/guest/mapping.rs", 4),
    ("xtask/src/guest/steady.rs", 1),
    ("xtask/src/process.rs", 1),
];

/// Compares a file with the list.
pub(crate) fn check(name: &str, text: &str) -> Option<String> {
    let found = count(text);
    let pinned = PINNED.iter().find(|(file, _)| *file == name).map_or(0, |(_, count)| *count);
    (found != pinned).then(|| {
        format!("tidy: {name}: `unsafe` stands here {found} times, xtask/src/unsafe_code.rs says {pinned}")
    })
}

/// Files of the list that are not there any more, given those that are.
pub(crate) fn gone(names: &[&str]) -> Vec<String> {
    let gone = PINNED.iter().filter(|(file, _)| !names.contains(file));
    gone.map(|(file, _)| format!("tidy: {file} is in xtask/src/unsafe_code.rs, and gone")).collect()
}

/// How often the word stands in code: not in comments and texts, nor as a part of another word.
fn count(text: &str) -> usize {
    let word = concat!("un", "safe");
    let mut found = 0;
    for line in text.lines() {
        let code = without_texts(line);
        for (at, _) in code.match_indices(word) {
            let part =
                |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
            let before = part(code[..at].chars().next_back());
            let behind = part(code[at + word.len()..].chars().next());
            found += usize::from(!before && !behind);
        }
    }
    found
}

/// A line up to its comment, without what stands between quotes.
fn without_texts(line: &str) -> String {
    let (mut code, mut in_text, mut escaped) = (String::new(), false, false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        if in_text {
            in_text = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if letter == '"' {
            in_text = true;
        } else if letter == '/' && letters.peek() == Some(&'/') {
            break;
        } else {
            code.push(letter);
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::{PINNED, check, count};

    /// Where the product may have it.
    const OS: &str = "env/src/os/";

    /// Tools, and what each needs it for.
    const SHIMS: [&str; 13] = [
        "conformance/fuzz/src/allocation.rs",
        "conformance/fuzz/src/main.rs",
        "conformance/sim/src/main.rs",
        "xtask/src/bench/cpu.rs",
        "xtask/src/fuzz.rs",
        "xtask/src/guest/again.rs",
        "xtask/src/guest/files.rs",
        "xtask/src/guest/fsx/mapped.rs",
        "xtask/src/guest/fsx/subject.rs",
        "xtask/src/guest/lock.rs",
        "xtask/src/guest/mapping.rs",
        "xtask/src/guest/steady.rs",
        "xtask/src/process.rs",
    ];

    #[test]
    fn the_product_has_it_under_env_alone() {
        for (file, _) in PINNED {
            assert!(file.starts_with(OS) || SHIMS.contains(file), "{file}");
        }
    }

    #[test]
    fn code_counts_and_words_about_it_do_not() {
        assert_eq!(count(concat!("let a = un", "safe { b() }; // un", "safe\n")), 1);
        assert_eq!(count(concat!("#![forbid(un", "safe_code)]\n\"un", "safe\"\n")), 0);
        assert_eq!(count(concat!("un", "safe impl Send for A {}\nun", "safe fn b() {}\n")), 2);
    }

    #[test]
    fn a_file_that_is_not_named_is_found() {
        assert!(check("mds/server/src/server.rs", concat!("un", "safe {}")).is_some());
        assert!(check("mds/server/src/server.rs", "fn a() {}").is_none());
        let (file, _) = PINNED[0];
        assert!(check(file, "fn a() {}").is_some());
    }
}
