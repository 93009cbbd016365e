//! The lines of the operator's files: one setting a line, `name value` or `name = value`. `#`
//! begins a comment. What is not understood is an error with its line, and never passed over.

/// Gives each setting of a text to `set`, its name and its value.
///
/// # Errors
/// What `set` says, or that a name stands there a second time; with the number of the line.
pub(super) fn read(
    text: &str,
    mut set: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<(), String> {
    let mut seen = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let setting = line.split('#').next().unwrap_or_default().trim();
        if setting.is_empty() {
            continue;
        }
        let (name, value) =
            setting.split_once(|sign: char| sign == '=' || sign.is_whitespace()).unzip();
        let name = name.unwrap_or(setting);
        let value = value.unwrap_or_default().trim_start().trim_start_matches('=').trim();
        let read = match seen.contains(&name) {
            true => Err(format!("{name} stands here a second time")),
            false => set(name, value),
        };
        read.map_err(|why| format!("line {number}: {why}"))?;
        seen.push(name);
    }
    Ok(())
}
