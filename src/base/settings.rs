//! The grammar of our configuration files: one setting a line, `name value` or `name = value`.
//!
//! `#` begins a comment. In a setting that takes text, only a line that begins with it is one: a
//! text is never cut without a word.

/// How a setting is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Whether it takes the rest of its line as it is.
    pub(crate) is_text: bool,
    /// Whether it may stand there more than once.
    pub(crate) is_many: bool,
}

/// Hands each setting of a file to `set`, with its name and its value. What `rule` does not know is
/// handed over, too: it is for `set` to refuse it.
///
/// # Errors
/// One sentence that begins with the number of the line.
pub(crate) fn read<'a>(
    text: &'a str,
    rule: impl Fn(&str) -> Rule,
    mut set: impl FnMut(&'a str, &'a str) -> Result<(), String>,
) -> Result<(), String> {
    let mut seen = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = split(line);
        let Rule { is_text, is_many } = rule(name);
        let value = if is_text { value } else { without_comment(value) };
        let read = match !is_many && seen.contains(&name) {
            true => Err(format!("{name} stands here a second time")),
            false => set(name, value),
        };
        read.map_err(|why| format!("line {number}: {why}"))?;
        seen.push(name);
    }
    Ok(())
}

/// The name of a line's setting, and what follows it.
fn split(line: &str) -> (&str, &str) {
    let end = line.find(|sign: char| sign == '=' || sign == '#' || sign.is_whitespace());
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    (name, rest.strip_prefix('=').unwrap_or(rest).trim_start())
}

fn without_comment(value: &str) -> &str {
    value.split('#').next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut found = Vec::new();
        let rule = |name: &str| Rule { is_text: name == "say", is_many: name == "many" };
        read(text, rule, |name, value| {
            if value == "bad" {
                return Err(format!("{name} is bad"));
            }
            found.push((name.to_owned(), value.to_owned()));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn one_setting_a_line_in_both_ways() {
        for (line, name, value) in [
            ("a 1", "a", "1"),
            ("a=1", "a", "1"),
            ("\ta\t=\t1  # one\r", "a", "1"),
            ("a", "a", ""),
            ("a# b", "a", ""),
            ("a 1#2", "a", "1"),
            ("say fix #12, a = b  ", "say", "fix #12, a = b"),
            ("say = =x", "say", "=x"),
            ("many A=1", "many", "A=1"),
            ("many = A=1", "many", "A=1"),
        ] {
            let expected = vec![(name.to_owned(), value.to_owned())];
            assert_eq!(read_all(line), Ok(expected), "{line:?}");
        }
        for nothing in ["", "\n\r\n  \t", "# say x", "  #"] {
            assert_eq!(read_all(nothing), Ok(Vec::new()), "{nothing:?}");
        }
        assert_eq!(read_all("= 1").map(|found| found[0].0.is_empty()), Ok(true));
    }

    #[test]
    fn what_is_wrong_stands_in_a_line() {
        assert_eq!(read_all("\n# x\na bad"), Err("line 3: a is bad".to_owned()));
        assert_eq!(read_all("a 1\n\na 1"), Err("line 3: a stands here a second time".to_owned()));
        assert_eq!(read_all("many 1\nmany 1").map(|found| found.len()), Ok(2));
    }
}
