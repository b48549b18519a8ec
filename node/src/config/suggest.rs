//! Finds what a person probably meant: the known word nearest to a mistyped one.

/// Words longer than this are compared by their beginning only, so that the cost stays bounded.
const LONGEST: usize = 64;

/// The nearest of the candidates, if any is near enough to be worth naming.
///
/// A dotted path is also compared by its last part, so that a key in the wrong section finds its section.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let whole = distance(word, candidate);
            let last = distance(last_part(word), last_part(candidate)).saturating_add(1);
            let score = whole.min(last);
            (score <= allowed).then_some((score, candidate))
        })
        .min_by_key(|(score, _)| *score)
        .map(|(_, candidate)| candidate)
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Levenshtein distance: insertions, deletions and replacements that turn one word into the other.
pub fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (count, letter) in left.chars().take(LONGEST).enumerate() {
        let mut diagonal = count;
        let mut previous = count.saturating_add(1);
        let mut next = vec![previous];
        for (above, other) in row.iter().skip(1).zip(&right) {
            let replaced = diagonal.saturating_add(usize::from(letter != *other));
            previous = replaced.min(above.saturating_add(1)).min(previous.saturating_add(1));
            diagonal = *above;
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["http.listen", "node.id", "log.level", "log"];
        assert_eq!(nearest("http.lisen", known), Some("http.listen"));
        assert_eq!(nearest("listen", known), Some("http.listen"));
        assert_eq!(nearest("node.level", known), Some("log.level"));
        assert_eq!(nearest("frobnicate", known), None);
    }

    #[test]
    fn distances_known_by_hand() {
        for (left, right, expected) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("same", "same", 0)] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_zero_only_for_equals(a in "[a-d]{0,10}", b in "[a-d]{0,10}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
        }
    }
}
