//! `convocate completions`: completions of bash, zsh and fish, from the table of commands.
//!
//! Only words of our own table go into the scripts, so nothing in them needs a shell's quoting
//! beyond what is done here for the summaries.

use crate::cli::command::{Command, Flag, Operand, Parsed, Program};
use crate::cli::output::{Failure, Out};
use crate::exit::Exit;

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];
const SHELL: Operand =
    Operand { name: "SHELL", is_optional: false, is_many: false, choices: &SHELLS };

/// Options whose values are names of files, too: of those in these directories below the root.
const FILES: [(&str, &str); 2] =
    [("profile", "etc/convocate/profiles"), ("check", "etc/convocate/profiles")];

/// The shell command that lists what a value or an operand of this name can be.
fn names_of(program: &Program, name: &str) -> Option<&'static str> {
    match name {
        _ if program.name != "convocate" => None,
        "agent" => Some("convocate names agents 2>/dev/null"),
        "SESSION" => Some("convocate names sessions 2>/dev/null"),
        _ => None,
    }
}

/// The shell command that lists the values of an option: words without any sign that a shell takes
/// for its own.
fn list_of_values(program: &Program, flag: &Flag) -> Option<String> {
    if let Some(command) = names_of(program, flag.name) {
        return Some(command.to_owned());
    }
    let known = FILES.iter().find(|(name, _)| *name == flag.name && program.name == "convocate");
    known.map(|(_, directory)| {
        format!(
            "command ls \"$CONVOCATE_ROOT/{directory}\" 2>/dev/null | \
             command grep -x \"[A-Za-z0-9][A-Za-z0-9._-]*\""
        )
    })
}

/// The values of an option, as bash and zsh find them.
fn choices_of(program: &Program, flag: &Flag) -> String {
    let list = list_of_values(program, flag).map(|list| format!("$({list})"));
    flag.choices.iter().map(|&it| it.to_owned()).chain(list).collect::<Vec<_>>().join(" ")
}

/// The same for fish, inside single quotes.
fn fish_choices_of(program: &Program, flag: &Flag) -> String {
    let list = list_of_values(program, flag).map(|list| format!("({list})"));
    flag.choices.iter().map(|&it| it.to_owned()).chain(list).collect::<Vec<_>>().join(" ")
}

/// The command for a program. `run` calls [`fn@print`] with that program's table, which has this
/// command in it.
pub(crate) const fn command(run: fn(&Parsed, &mut Out<'_>) -> Result<Exit, Failure>) -> Command {
    Command {
        name: "completions",
        summary: "print the completions for a shell",
        operands: &[SHELL],
        flags: &[],
        help: "\
bash: save them where bash-completion looks, or source them.
zsh:  save them in a directory of $fpath, as _convocate.
fish: save them as ~/.config/fish/completions/convocate.fish.
",
        run,
    }
}

/// Prints the script that a shell is to read.
pub(crate) fn print(
    program: &Program,
    parsed: &Parsed,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    out.text(&match parsed.required(0) {
        "bash" => bash(program),
        "zsh" => zsh(program),
        "fish" => fish(program),
        other => {
            return Err(Failure::Usage(format!("{other:?} is none of {}", SHELLS.join(", "))));
        }
    })?;
    Ok(Exit::Done)
}

/// All words that may follow a command: its options and the choices of its operands.
fn words_of(program: &Program, command: &Command) -> Vec<String> {
    let flags = command.shown_flags().map(|flag| format!("--{}", flag.name));
    let choices = command.operands.iter().flat_map(|operand| operand.choices);
    let names = command.operands.iter().filter_map(|operand| names_of(program, operand.name));
    let names = names.map(|names| format!("$({names})"));
    let all = flags.chain(["--help".to_owned()]).chain(choices.map(|&it| it.to_owned()));
    all.chain(names).collect()
}

fn command_names(program: &Program) -> String {
    let names: Vec<_> = program.shown_commands().map(|command| command.name).collect();
    format!("{} help", names.join(" "))
}

/// Every option whose values are known, once.
fn flags_with_values(program: &Program) -> Vec<&'static Flag> {
    let mut found: Vec<&Flag> = Vec::new();
    for flag in program.shown_commands().flat_map(Command::shown_flags) {
        let has_values = !flag.choices.is_empty() || names_of(program, flag.name).is_some();
        if has_values && found.iter().all(|known| known.name != flag.name) {
            found.push(flag);
        }
    }
    found
}

fn bash(program: &Program) -> String {
    let name = program.name;
    let function = format!("_{}", name.replace('-', "_"));
    let mut text = format!(
        "{function}() {{\n    local word=${{COMP_WORDS[COMP_CWORD]}} words=\n    \
         if [[ $COMP_CWORD -eq 1 ]]; then\n        words=\"{}\"\n    else\n        \
         case ${{COMP_WORDS[COMP_CWORD-1]}} in\n",
        command_names(program)
    );
    for flag in flags_with_values(program) {
        text.push_str(&format!(
            "        --{}) words=\"{}\" ;;\n",
            flag.name,
            choices_of(program, flag)
        ));
    }
    text.push_str("        *) case ${COMP_WORDS[1]} in\n");
    for command in program.shown_commands() {
        let words = words_of(program, command).join(" ");
        text.push_str(&format!("            {}) words=\"{words}\" ;;\n", command.name));
    }
    text.push_str(&format!(
        "            help) words=\"{}\" ;;\n            esac ;;\n        esac\n    fi\n    \
         COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}}\n\
         complete -o default -F {function} {name}\n",
        command_names(program)
    ));
    text
}

fn zsh(program: &Program) -> String {
    let name = program.name;
    let function = format!("_{}", name.replace('-', "_"));
    let mut text =
        format!("#compdef {name}\n{function}() {{\n    local -a commands\n    commands=(\n");
    for command in program.shown_commands() {
        text.push_str(&format!("        '{}:{}'\n", command.name, quoted(command.summary)));
    }
    text.push_str(
        "        'help:show help'\n    )\n    if (( CURRENT == 2 )); then\n        \
         _describe command commands\n        return\n    fi\n    case $words[CURRENT-1] in\n",
    );
    for flag in flags_with_values(program) {
        let choices = choices_of(program, flag);
        text.push_str(&format!("    --{}) compadd -- {choices}; return ;;\n", flag.name));
    }
    text.push_str("    esac\n    case $words[2] in\n");
    for command in program.shown_commands() {
        let words = words_of(program, command).join(" ");
        text.push_str(&format!("    {}) compadd -- {words} ;;\n", command.name));
    }
    text.push_str(&format!(
        "    help) compadd -- {} ;;\n    esac\n}}\ncompdef {function} {name}\n",
        command_names(program)
    ));
    text
}

fn fish(program: &Program) -> String {
    let name = program.name;
    let mut text = format!("complete -c {name} -f\n");
    for command in program.shown_commands() {
        text.push_str(&format!(
            "complete -c {name} -n __fish_use_subcommand -a {} -d '{}'\n",
            command.name,
            quoted(command.summary)
        ));
        let within = format!("-n '__fish_seen_subcommand_from {}'", command.name);
        for flag in command.shown_flags() {
            let has_names = names_of(program, flag.name).is_some();
            let value = match (flag.value, flag.choices) {
                (None, _) => String::new(),
                (Some(_), []) if !has_names => " -r".to_owned(),
                (Some(_), _) => format!(" -x -a '{}'", fish_choices_of(program, flag)),
            };
            text.push_str(&format!(
                "complete -c {name} {within} -l {}{value} -d '{}'\n",
                flag.name,
                quoted(flag.summary)
            ));
        }
        for names in command.operands.iter().filter_map(|it| names_of(program, it.name)) {
            text.push_str(&format!("complete -c {name} {within} -a '({names})'\n"));
        }
        for operand in command.operands.iter().filter(|operand| !operand.choices.is_empty()) {
            let choices = operand.choices.join(" ");
            text.push_str(&format!("complete -c {name} {within} -a '{choices}'\n"));
        }
    }
    text
}

/// A summary inside single quotes: none of ours needs one.
fn quoted(text: &str) -> String {
    text.replace('\'', "’").replace(':', " -")
}
