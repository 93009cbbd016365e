//! A program as one table of commands, and what the table gives: parsing, help, dispatch.
//!
//! Parsing checks flags against the table and makes plain values of them; the command gives a value
//! its meaning. Long options only (but `-h`), each at most once unless the table says otherwise. An
//! error is one sentence and where to find the help.

use std::ffi::OsString;

use lexopt::Arg;

use crate::cli::output::{Failure, Out};
use crate::exit::Exit;

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// One line.
    pub(crate) summary: &'static str,
    /// In the order of the help.
    pub(crate) commands: &'static [Command],
    /// The command to run where none is named, if there is one.
    pub(crate) fallback: Option<&'static str>,
    /// The titles of the help's parts, with the names of their commands; what is in none of them
    /// stands in no list. Without any, all stand in one.
    pub(crate) groups: &'static [(&'static str, &'static [&'static str])],
    /// The text below the list of commands in its help.
    pub(crate) epilogue: &'static str,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// What it does, in one line; empty if only our own programs call it: then it is in no list.
    pub(crate) summary: &'static str,
    pub(crate) operands: &'static [Operand],
    /// Its options, without `--help`, which all have.
    pub(crate) flags: &'static [Flag],
    /// What there is to know beyond summary and options.
    pub(crate) help: &'static str,
    pub(crate) run: fn(&Parsed, &mut Out<'_>) -> Result<Exit, Failure>,
}

/// A word that a command expects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    /// What the help calls it.
    pub(crate) name: &'static str,
    /// Whether it may be left out. Only the last may.
    pub(crate) is_optional: bool,
    /// Whether more of them may follow. Only the last may.
    pub(crate) is_many: bool,
    /// All that it can be, if that is known.
    pub(crate) choices: &'static [&'static str],
}

/// An option of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// Its name, without dashes.
    pub(crate) name: &'static str,
    /// What the help calls its value; `None` if it has none. With `…` at its end it may be given
    /// more than once.
    pub(crate) value: Option<&'static str>,
    /// What it is for, in one line; empty if only our own programs give it: then it is in no list.
    pub(crate) summary: &'static str,
    /// All that its value can be, if that is known.
    pub(crate) choices: &'static [&'static str],
}

/// A command line as plain values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    flags: Vec<(&'static str, String)>,
    operands: Vec<String>,
    wants_help: bool,
}

impl Parsed {
    /// Whether a flag was given.
    pub(crate) fn has(&self, flag: &Flag) -> bool {
        self.value(flag).is_some()
    }

    /// A flag's value; empty for one that has none.
    pub(crate) fn value(&self, flag: &Flag) -> Option<&str> {
        let found = self.flags.iter().find(|(name, _)| *name == flag.name);
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a flag that may be given more than once.
    pub(crate) fn values(&self, flag: &Flag) -> impl Iterator<Item = &str> {
        let given = self.flags.iter().filter(|(name, _)| *name == flag.name);
        given.map(|(_, value)| value.as_str())
    }

    /// The operand in this place, if it was given.
    pub(crate) fn operand(&self, place: usize) -> Option<&str> {
        self.operands.get(place).map(String::as_str)
    }

    /// All operands.
    pub(crate) fn operands(&self) -> &[String] {
        &self.operands
    }

    /// An operand that the table demands in this place.
    pub(crate) fn required(&self, place: usize) -> &str {
        self.operand(place).expect("parsing has checked that each demanded operand is there")
    }
}

impl Command {
    /// Parses the words after the command's name.
    pub(crate) fn parse(&self, words: Vec<OsString>) -> Result<Parsed, String> {
        let mut parser = lexopt::Parser::from_args(words);
        let mut parsed = Parsed::default();
        while let Some(arg) = parser.next().map_err(|error| sentence(&error))? {
            match arg {
                Arg::Short('h') | Arg::Long("help") => parsed.wants_help = true,
                Arg::Long(name) => {
                    let flag = self.flags.iter().find(|flag| flag.name == name);
                    let flag = flag.ok_or_else(|| {
                        let known = self.shown_flags().map(|flag| flag.name);
                        let meant =
                            nearest(name, known).map(|near| format!("; did you mean --{near}?"));
                        let hint = self.dashes_hint(&parsed).or(meant);
                        format!("unknown option --{name}{}", hint.unwrap_or_default())
                    })?;
                    if parsed.has(flag) && !flag.is_many() {
                        return Err(format!("--{name} is given twice"));
                    }
                    let value = match flag.value {
                        Some(_) => text(parser.value().map_err(|error| sentence(&error))?)?,
                        None => String::new(),
                    };
                    parsed.flags.push((flag.name, value));
                }
                Arg::Short(name) => {
                    let hint = self.dashes_hint(&parsed).unwrap_or_default();
                    return Err(format!("unknown option -{name}{hint}"));
                }
                Arg::Value(word) => parsed.operands.push(text(word)?),
            }
        }
        if !parsed.wants_help {
            self.check_operands(&parsed.operands)?;
        }
        Ok(parsed)
    }

    /// What helps where an option was meant for the command that the operands are.
    fn dashes_hint(&self, parsed: &Parsed) -> Option<String> {
        let [first, .., last] = self.operands else { return None };
        let [one, two, ..] = &parsed.operands[..] else { return None };
        last.is_many.then(|| {
            let (name, kind, of) = (self.name, last.name, first.name);
            format!("; write -- between {of} and {kind}: {name} {one} -- {two} …")
        })
    }

    /// Whether these words, without a command's name, are for it: none, or first an option of its
    /// own.
    fn is_meant_by(&self, words: &[OsString]) -> bool {
        let Some(first) = words.first() else { return true };
        let name = first.to_str().and_then(|first| first.strip_prefix("--")).unwrap_or_default();
        let name = name.split('=').next().unwrap_or_default();
        self.flags.iter().any(|flag| flag.name == name)
    }

    /// Its synopsis, without the program's name.
    pub(crate) fn synopsis(&self) -> String {
        let mut words = vec![self.name.to_owned()];
        words.extend(self.operands.iter().map(|operand| match operand.is_optional {
            true if operand.is_many => format!("[{}…]", operand.name),
            true => format!("[{}]", operand.name),
            false if operand.is_many => format!("{}…", operand.name),
            false => operand.name.to_owned(),
        }));
        words.extend(self.shown_flags().map(|flag| format!("[{}]", flag.shown())));
        words.join(" ")
    }

    pub(crate) fn is_shown(&self) -> bool {
        !self.summary.is_empty()
    }

    /// The options that are in the help.
    pub(crate) fn shown_flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().filter(|flag| !flag.summary.is_empty())
    }

    fn check_operands(&self, given: &[String]) -> Result<(), String> {
        let is_many = self.operands.last().is_some_and(|last| last.is_many);
        if let Some(extra) = given.get(self.operands.len()).filter(|_| !is_many) {
            return Err(format!("unexpected argument {extra:?}"));
        }
        match self.operands.get(given.len()) {
            Some(missing) if !missing.is_optional => Err(format!("{} is missing", missing.name)),
            _ => Ok(()),
        }
    }
}

impl Flag {
    pub(crate) const fn switch(name: &'static str, summary: &'static str) -> Flag {
        Flag { name, value: None, summary, choices: &[] }
    }

    pub(crate) const fn value(
        name: &'static str,
        value: &'static str,
        summary: &'static str,
    ) -> Flag {
        Flag { value: Some(value), ..Flag::switch(name, summary) }
    }

    pub(crate) const fn choice(
        name: &'static str,
        value: &'static str,
        summary: &'static str,
        choices: &'static [&'static str],
    ) -> Flag {
        Flag { choices, ..Flag::value(name, value, summary) }
    }

    fn is_many(&self) -> bool {
        self.value.is_some_and(|value| value.ends_with('…'))
    }

    /// The flag as the help writes it: `--agent A`.
    pub(crate) fn shown(&self) -> String {
        match self.value {
            Some(value) => format!("--{} {value}", self.name),
            None => format!("--{}", self.name),
        }
    }
}

impl Program {
    /// Runs the command that the words name, and prints why it failed.
    pub(crate) fn run(&self, words: Vec<OsString>, out: &mut Out<'_>) -> Exit {
        let result = self.dispatch(words, out).and_then(|exit| out.flush().map(|()| exit));
        let (exit, text) = match result {
            Ok(exit) => return exit,
            // What was written may still wait in a buffer, and comes before the complaint.
            Err(failure) => match (out.flush(), failure) {
                (Err(Failure::NobodyReads), _) | (_, Failure::NobodyReads) => return Exit::Done,
                (_, Failure::Usage(text)) => (Exit::Usage, text),
                (_, Failure::Failed(text)) => (Exit::Failed, text),
                (_, Failure::Exit(exit, text)) => (exit, text),
            },
        };
        if !text.is_empty() {
            out.note(&format!("{}: {text}", self.name));
        }
        exit
    }

    fn dispatch(&self, words: Vec<OsString>, out: &mut Out<'_>) -> Result<Exit, Failure> {
        let fallback = self.fallback.and_then(|name| self.find(name));
        if let Some(command) = fallback.filter(|command| command.is_meant_by(&words)) {
            return self.call(command, words, out);
        }
        let mut words = words.into_iter();
        let Some(first) = words.next() else {
            let names: Vec<_> = self.shown_commands().map(|command| command.name).collect();
            let hint = self.help_hint(None);
            let text = format!("no command given; commands: {}; {hint}", names.join(", "));
            return Err(Failure::Usage(text));
        };
        let first = text(first).map_err(Failure::Usage)?;
        let name = match first.as_str() {
            "-h" | "--help" => "help",
            "--version" => "version",
            name => name,
        };
        if name == "help" {
            return self.help(words.collect(), out);
        }
        let Some(command) = self.find(name) else {
            let what = if name.starts_with('-') { "option" } else { "command" };
            let known = self.commands.iter().map(|command| command.name);
            let meant = nearest(name, known.chain(["help"]));
            let meant = meant.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let text = format!("unknown {what} {name:?}{meant}; {}", self.help_hint(None));
            return Err(Failure::Usage(text));
        };
        self.call(command, words.collect(), out)
    }

    fn call(
        &self,
        command: &'static Command,
        words: Vec<OsString>,
        out: &mut Out<'_>,
    ) -> Result<Exit, Failure> {
        let name = command.name;
        let hint = || self.help_hint(Some(name));
        let parsed = command
            .parse(words)
            .map_err(|text| Failure::Usage(format!("{name}: {text}; {}", hint())))?;
        if parsed.wants_help {
            out.text(&self.command_help(command))?;
            return Ok(Exit::Done);
        }
        (command.run)(&parsed, out).map_err(|failure| match failure {
            Failure::Usage(text) => Failure::Usage(format!("{name}: {text}; {}", hint())),
            Failure::Failed(text) => Failure::Failed(format!("{name}: {text}")),
            Failure::Exit(exit, text) if text.is_empty() => Failure::Exit(exit, text),
            Failure::Exit(exit, text) => Failure::Exit(exit, format!("{name}: {text}")),
            Failure::NobodyReads => Failure::NobodyReads,
        })
    }

    /// The commands that are in the help.
    pub(crate) fn shown_commands(&self) -> impl Iterator<Item = &'static Command> {
        self.commands.iter().filter(|command| command.is_shown())
    }

    pub(crate) fn find(&self, name: &str) -> Option<&'static Command> {
        self.commands.iter().find(|command| command.name == name)
    }

    /// `help`, and `help CMD`.
    fn help(&self, words: Vec<OsString>, out: &mut Out<'_>) -> Result<Exit, Failure> {
        let hint = self.help_hint(None);
        match &words[..] {
            [] => out.text(&self.overview())?,
            [name] => {
                let name = name.to_string_lossy();
                match self.find(&name) {
                    Some(command) => out.text(&self.command_help(command))?,
                    // A person who asks for help about help, or with --help, means the overview.
                    None if matches!(&*name, "help" | "-h" | "--help") => {
                        out.text(&self.overview())?;
                    }
                    None => {
                        let text = format!("help: unknown command {name:?}; {hint}");
                        return Err(Failure::Usage(text));
                    }
                }
            }
            [_, extra, ..] => {
                let text = format!("help: unexpected argument {extra:?}; {hint}");
                return Err(Failure::Usage(text));
            }
        }
        Ok(Exit::Done)
    }

    fn help_hint(&self, command: Option<&str>) -> String {
        match command {
            Some(command) => format!("see `{} help {command}`", self.name),
            None => format!("see `{} help`", self.name),
        }
    }

    fn overview(&self) -> String {
        let mut text = format!("{}: {}\n\n", self.name, self.summary);
        text.push_str(&format!("Usage: {} COMMAND …\n", self.name));
        let help = ("help".to_owned(), "show this, or the help of a command: help COMMAND");
        let row = |command: &Command| (command.name.to_owned(), command.summary);
        for (title, names) in self.groups {
            text.push_str(&format!("\n{title}:\n"));
            push_list(&mut text, names.iter().filter_map(|name| self.find(name)).map(row));
        }
        let (title, rest) = match self.groups {
            [] => ("Commands", self.shown_commands().map(row).collect()),
            _ => ("Help", Vec::new()),
        };
        text.push_str(&format!("\n{title}:\n"));
        push_list(&mut text, rest.into_iter().chain([help]));
        if !self.epilogue.is_empty() {
            text.push_str(&format!("\n{}", self.epilogue));
        }
        text
    }

    pub(crate) fn command_help(&self, command: &Command) -> String {
        let mut text = format!("Usage: {} {}\n\n", self.name, command.synopsis());
        if command.is_shown() {
            text.push_str(&format!("{}.\n", capitalised(command.summary)));
        }
        if !command.help.is_empty() {
            text.push_str(&format!("\n{}", command.help));
        }
        if command.shown_flags().next().is_some() {
            text.push_str("\nOptions:\n");
            push_list(&mut text, command.shown_flags().map(|flag| (flag.shown(), flag.summary)));
        }
        text
    }
}

fn push_list(text: &mut String, rows: impl Iterator<Item = (String, &'static str)>) {
    let rows: Vec<_> = rows.collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, summary) in rows {
        text.push_str(&format!("  {name:width$}  {summary}\n"));
    }
}

/// The one of these names that a mistyped one was probably meant to be.
fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|name| (distance(typed, name), name));
    let limit = typed.chars().count().div_ceil(3);
    near.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name)
}

/// How many characters must be put in, taken out or replaced to make one word the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, sign) in one.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], at + 1);
        for (place, wanted) in other.iter().enumerate() {
            let cost = before + usize::from(sign != *wanted);
            before = row[place + 1];
            row[place + 1] = cost.min(before + 1).min(row[place] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

fn capitalised(text: &str) -> String {
    let mut signs = text.chars();
    signs.next().map_or(String::new(), |first| first.to_uppercase().chain(signs).collect())
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{:?} is not UTF-8", word.to_string_lossy()))
}

fn sentence(error: &lexopt::Error) -> String {
    match error {
        lexopt::Error::MissingValue { option: Some(option) } => format!("{option} needs a value"),
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::shared_flags::JSON;

    const AGENT: Flag = Flag::value("agent", "A", "which");

    static PROGRAM: Program = Program {
        name: "prog",
        summary: "does things",
        commands: &[
            Command {
                name: "do",
                summary: "do a thing",
                operands: &[
                    Operand { name: "THING", is_optional: false, is_many: false, choices: &[] },
                    Operand { name: "HOW", is_optional: true, is_many: false, choices: &[] },
                ],
                flags: &[AGENT, JSON],
                help: "There is more to say.\n",
                run: |parsed, out| {
                    out.text(&format!("{parsed:?}"))?;
                    Ok(Exit::Done)
                },
            },
            Command {
                name: "fail",
                summary: "fail",
                operands: &[],
                flags: &[],
                help: "",
                run: |_, _| Err(Failure::Failed("no luck".to_owned())),
            },
        ],
        fallback: None,
        groups: &[],
        epilogue: "",
    };

    fn run(words: &[&str]) -> (Exit, String, String) {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let words = words.iter().map(OsString::from).collect();
        let exit = PROGRAM.run(words, &mut Out::new(&mut output, &mut errors, None));
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (exit, text(output), text(errors))
    }

    #[test]
    fn flags_are_plain_values_wherever_they_stand() {
        let command = &PROGRAM.commands[0];
        for words in [
            &["x", "--agent", "a", "--json"][..],
            &["--json", "--agent=a", "x"],
            &["--agent", "a", "--json", "--", "x"],
        ] {
            let parsed = command.parse(words.iter().map(OsString::from).collect()).expect("good");
            assert_eq!(parsed.value(&AGENT), Some("a"));
            assert!(parsed.has(&JSON));
            assert_eq!((parsed.required(0), parsed.operand(1)), ("x", None));
        }
    }

    #[test]
    fn whatever_is_wrong_is_one_sentence_and_status_2() {
        for (words, sentence) in [
            (&[][..], "prog: no command given; commands: do, fail; see `prog help`"),
            (&["nope"], "prog: unknown command \"nope\"; see `prog help`"),
            (&["--nope"], "prog: unknown option \"--nope\"; see `prog help`"),
            (&["do"], "prog: do: THING is missing; see `prog help do`"),
            (&["do", "a", "b", "c"], "prog: do: unexpected argument \"c\"; see `prog help do`"),
            (&["do", "a", "--nope"], "prog: do: unknown option --nope; see `prog help do`"),
            (&["fial"], "prog: unknown command \"fial\"; did you mean fail?; see `prog help`"),
            (
                &["do", "a", "--agnt", "x"],
                "prog: do: unknown option --agnt; did you mean --agent?; see `prog help do`",
            ),
            (&["do", "a", "-x"], "prog: do: unknown option -x; see `prog help do`"),
            (&["do", "a", "--agent"], "prog: do: --agent needs a value; see `prog help do`"),
            (&["do", "a", "--json=1"], "prog: do: --json takes no value; see `prog help do`"),
            (
                &["do", "--json", "a", "--json"],
                "prog: do: --json is given twice; see `prog help do`",
            ),
            (&["help", "nope"], "prog: help: unknown command \"nope\"; see `prog help`"),
            (&["help", "do", "x"], "prog: help: unexpected argument \"x\"; see `prog help`"),
        ] {
            let (exit, output, errors) = run(words);
            assert_eq!((exit, output.as_str()), (Exit::Usage, ""), "{words:?}");
            assert_eq!(errors.trim_end(), sentence);
        }
        assert_eq!(run(&["fail"]), (Exit::Failed, String::new(), "prog: fail: no luck\n".into()));
    }

    #[test]
    fn what_cannot_be_written_is_a_failure() {
        struct Full;
        impl std::io::Write for Full {
            fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
        }
        let mut output = std::io::BufWriter::new(Full);
        let mut errors = Vec::new();
        let words = vec![OsString::from("help")];
        let exit = PROGRAM.run(words, &mut Out::new(&mut output, &mut errors, None));
        assert_eq!(exit, Exit::Failed);
        assert!(String::from_utf8(errors).expect("text").contains("cannot write the output"));
    }

    #[test]
    fn help_is_the_same_however_it_is_asked_for() {
        let (exit, overview, _) = run(&["help"]);
        assert_eq!(exit, Exit::Done);
        assert!(overview.contains("  do    do a thing\n"), "{overview}");
        for words in [&["-h"][..], &["--help"], &["help", "--help"]] {
            assert_eq!(run(words).1, overview);
        }
        let (_, command, _) = run(&["help", "do"]);
        assert!(command.starts_with("Usage: prog do THING [HOW] [--agent A] [--json]\n"));
        for words in [&["do", "--help"][..], &["do", "-h", "too", "many", "words"]] {
            assert_eq!(run(words).1, command);
        }
    }
}
