//! Plural forms and the distance between spellings.

/// The forms in which a singular word may stand in a text.
pub fn forms(word: &str) -> Vec<String> {
    let mut forms = vec![word.to_owned(), format!("{word}s")];
    if word.ends_with(['s', 'x', 'z', 'o']) || word.ends_with("ch") || word.ends_with("sh") {
        forms.push(format!("{word}es"));
    }
    if let Some(stem) = word.strip_suffix('y') {
        forms.push(format!("{stem}ies"));
    }
    if let Some(stem) = word.strip_suffix('f').or_else(|| word.strip_suffix("fe")) {
        forms.push(format!("{stem}ves"));
    }
    forms
}

/// Edits (insert, delete, replace, swap of neighbours) between two words;
/// anything above `limit` is reported as `limit + 1`.
pub fn distance(left: &str, right: &str, limit: usize) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    if left.len().abs_diff(right.len()) > limit {
        return limit + 1;
    }
    let mut older: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut row = vec![i; right.len() + 1];
        for j in 1..=right.len() {
            let replaced = above[j - 1] + usize::from(left[i - 1] != right[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if swapped {
                row[j] = row[j].min(older[j - 2] + 1);
            }
        }
        older = std::mem::replace(&mut above, row);
    }
    above[right.len()].min(limit + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plural_forms() {
        assert!(forms("berry").contains(&"berries".to_owned()));
        assert!(forms("tomato").contains(&"tomatoes".to_owned()));
        assert!(forms("peach").contains(&"peaches".to_owned()));
        assert!(forms("loaf").contains(&"loaves".to_owned()));
    }

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("peanut", "peanut", 0),
            ("penaut", "peanut", 1),
            ("shelfish", "shellfish", 1),
            ("diary", "dairy", 1),
            ("glutin", "gluten", 1),
            ("butter", "better", 1),
            ("milk", "wheat", 3),
        ] {
            assert_eq!(distance(left, right, 2), expected, "{left} {right}");
            assert_eq!(distance(right, left, 2), expected, "{left} {right}");
        }
    }
}
