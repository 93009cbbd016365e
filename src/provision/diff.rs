//! What changes between two texts, for a person to look at.

use crate::limits::{PROVISION_DIFF_LINES_MAX, PROVISION_DIFF_TEXT_LINES_MAX};

/// Lines of both texts: `-` is gone, `+` is new, a blank is in both and next to a change. Empty if
/// they are the same. Never longer than [`PROVISION_DIFF_LINES_MAX`] lines; the last one then says
/// how many are left out.
pub(crate) fn diff(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let start = old.iter().zip(&new).take_while(|(left, right)| left == right).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let both = old_rest.iter().rev().zip(new_rest.iter().rev());
    let end = both.take_while(|(left, right)| left == right).count();
    let old_middle = &old_rest[..old_rest.len() - end];
    let new_middle = &new_rest[..new_rest.len() - end];
    if old_middle.is_empty() && new_middle.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    lines.extend(old[..start].last().map(|line| format!(" {line}")));
    middle(old_middle, new_middle, &mut lines);
    lines.extend(old_rest[old_rest.len() - end..].first().map(|line| format!(" {line}")));
    cut(lines)
}

/// The part between the common beginning and the common end.
fn middle(old: &[&str], new: &[&str], lines: &mut Vec<String>) {
    if old.len().max(new.len()) > PROVISION_DIFF_TEXT_LINES_MAX {
        lines.extend(old.iter().map(|line| format!("-{line}")));
        lines.extend(new.iter().map(|line| format!("+{line}")));
        return;
    }
    let common = common_lengths(old, new);
    let (mut left, mut right) = (0, 0);
    while left < old.len() || right < new.len() {
        let is_both = left < old.len() && right < new.len() && old[left] == new[right];
        let takes_old = right == new.len()
            || (left < old.len() && common[left + 1][right] >= common[left][right + 1]);
        if is_both {
            lines.push(format!(" {}", old[left]));
            (left, right) = (left + 1, right + 1);
        } else if takes_old {
            lines.push(format!("-{}", old[left]));
            left += 1;
        } else {
            lines.push(format!("+{}", new[right]));
            right += 1;
        }
    }
}

/// For each pair of positions, how many lines the rests have in common at most.
fn common_lengths(old: &[&str], new: &[&str]) -> Vec<Vec<usize>> {
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for left in (0..old.len()).rev() {
        for right in (0..new.len()).rev() {
            common[left][right] = if old[left] == new[right] {
                common[left + 1][right + 1] + 1
            } else {
                common[left + 1][right].max(common[left][right + 1])
            };
        }
    }
    common
}

fn cut(mut lines: Vec<String>) -> Vec<String> {
    let extra = lines.len().saturating_sub(PROVISION_DIFF_LINES_MAX);
    if extra > 0 {
        lines.truncate(PROVISION_DIFF_LINES_MAX - 1);
        lines.push(format!(" … {} lines more", extra + 1));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_texts_have_none() {
        assert!(diff("", "").is_empty() && diff("a\nb\n", "a\nb\n").is_empty());
    }

    #[test]
    fn what_changed_stands_between_its_neighbours() {
        assert_eq!(diff("", "a\nb\n"), ["+a", "+b"]);
        assert_eq!(diff("a\n", ""), ["-a"]);
        assert_eq!(diff("a\nb\nc\nd\n", "a\nb\nx\nd\n"), [" b", "-c", "+x", " d"]);
        assert_eq!(
            diff("1\n2\n3\n4\n5\n", "1\nb\n3\nd\n5\n"),
            [" 1", "-2", "+b", " 3", "-4", "+d", " 5"]
        );
    }

    #[test]
    fn a_long_one_is_cut_and_says_so() {
        let long: String = (0..10_000).map(|number| format!("{number}\n")).collect();
        let lines = diff("", &long);
        assert_eq!(lines.len(), PROVISION_DIFF_LINES_MAX);
        let left_out = 10_000 - (PROVISION_DIFF_LINES_MAX - 1);
        assert_eq!(lines.last(), Some(&format!(" … {left_out} lines more")));
        assert_eq!(diff(&long, &long.replace("5000\n", "x\n")).len(), 4);
    }
}
