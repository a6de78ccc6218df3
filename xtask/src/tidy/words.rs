//! Words that hide who acts, or that storage engineers have another word for (STYLE 15).

/// Not in comments, texts or names; with what to write instead.
const BANNED: &[(&str, &str)] = &[
    ("whoever", "name the actor: the client, the primary, the scrubber"),
    ("nobody", "name the actor, or use the passive: is not held"),
    ("somebody", "name the actor"),
    ("anybody", "name the actor"),
    ("anew", "recreated, reopened, read again"),
    ("put off", "answered DELAY, retried later"),
    ("let go", "released, dropped"),
    ("take up", "resume, adopt"),
    ("takes up", "resumes, adopts"),
    ("taken up", "resumed, adopted"),
];

/// Functions that need an object: a module may not have one that others see and that is called only
/// this.
const BARE_VERBS: [&str; 8] = ["begin", "of", "look", "ask", "tell", "run", "hear", "take"];

/// Lines with a banned word, and what to write.
pub(super) fn banned(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.to_lowercase();
        for (word, instead) in BANNED {
            if has_word(&line, word) {
                found.push((at + 1, format!("`{word}`: {instead}")));
            }
        }
    }
    found
}

/// Whether the word stands by itself; an underscore parts words as a space does.
fn has_word(line: &str, word: &str) -> bool {
    let mut from = 0;
    let with_underscores = word.replace(' ', "_");
    for form in [word, &with_underscores] {
        while let Some(at) = line[from..].find(form).map(|at| at + from) {
            let before = line[..at].chars().next_back();
            let after = line[at + form.len()..].chars().next();
            let parts = |next: Option<char>| next.is_none_or(|next| !next.is_alphanumeric());
            if parts(before) && parts(after) {
                return true;
            }
            from = at + form.len();
        }
        from = 0;
    }
    false
}

/// Whether a function that others see lacks an object in its name.
pub(super) fn is_bare(function: &str) -> bool {
    BARE_VERBS.contains(&function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_word_is_found_in_text_and_in_names() {
        for line in ["// Nobody reads it.", "fn is_put_off() {}", "/// It is put off.", "what nobody holds"] {
            assert_eq!(banned(line).len(), 1, "{line}");
        }
        for line in ["// busybody", "let takeup = 1;", "// The client retries later.", "a newer one"] {
            assert!(banned(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn a_verb_without_its_object_is_found() {
        assert!(is_bare("run") && is_bare("look"));
        assert!(!is_bare("run_checks") && !is_bare("overlook"));
    }
}
