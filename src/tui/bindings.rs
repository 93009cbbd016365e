//! Every key that does something, in one table: the help, the bar and the dispatch come from it.
//!
//! To add a key: a variant of [`Command`], an entry of [`BINDINGS`], and an arm of `Model::command`
//! in [`super::update`]. A command that asks first has its question in [`super::dialog`].
//!
//! Letters are the same in both cases, with one exception: `k` moves up, as in vi and its kin, and
//! `K` kills, which asks first.

use super::keys::Key;
use super::page::Page;

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Attach the terminal to the session.
    Attach,
    /// Open the form for a new session.
    New,
    /// Open the form for a copy.
    Clone,
    /// Open the form for the session's settings.
    Edit,
    /// Detach every terminal.
    Background,
    /// Ask whether to remove it.
    Delete,
    /// Ask whether to stop it.
    Kill,
    /// Ask whether to clear its lock.
    Override,
    Restart,
    /// Show the sessions of the selected agent.
    OfAgent,
    /// Show all that is known of it, of its agent and of this program.
    Settings,
    Quit,
    /// Show all keys.
    Help,
    /// Back to where one came from.
    Back,
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// One screen up.
    PageUp,
    /// One screen down.
    PageDown,
    /// To the first line.
    First,
    /// To the last line.
    Last,
    /// Type a filter.
    Filter,
    /// Sort by the next column.
    SortNext,
    /// Sort by the column before.
    SortBack,
    /// Turn the order round.
    Invert,
    /// Sort by who waits for a person, or by access again.
    SortWaiting,
    /// Group by agent, or not.
    Group,
    /// Show the sessions.
    Sessions,
    /// Show the agents.
    Agents,
    /// Show the events.
    Events,
    /// Show what was said.
    Messages,
    /// To the next session that waits for a person, or is done; show the next page if there is
    /// none.
    NextPage,
    /// Ask every agent that is asked, now.
    Refresh,
    /// Paint the screen anew.
    Redraw,
}

/// Where a key does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On every page.
    Everywhere,
    /// On the page of sessions.
    Sessions,
    /// On pages with lines.
    Lists,
    /// On the page of agents.
    Agents,
    /// On every page but that of the sessions.
    Elsewhere,
}

/// What must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// At least one agent.
    Agent,
    /// A selected session that an agent owns.
    Session,
}

#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) keys: &'static [Key],
    /// What the bar and the help call them.
    pub(crate) shown: &'static str,
    /// What the bar calls what they do.
    pub(crate) name: &'static str,
    /// What the help says.
    pub(crate) help: &'static str,
    pub(crate) place: Place,
    pub(crate) need: Need,
    /// When it goes from the bar if there is no room: the highest first; `None` never stands there.
    pub(crate) bar: Option<u8>,
    pub(crate) command: Command,
}

const fn binding(
    (keys, shown, name): (&'static [Key], &'static str, &'static str),
    help: &'static str,
    (place, need): (Place, Need),
    bar: Option<u8>,
    command: Command,
) -> Binding {
    Binding { keys, shown, name, help, place, need, bar, command }
}

const ON_SESSION: (Place, Need) = (Place::Sessions, Need::Session);
const ANYWHERE: (Place, Need) = (Place::Everywhere, Need::Nothing);
const ON_LISTS: (Place, Need) = (Place::Lists, Need::Nothing);
const ON_SESSIONS: (Place, Need) = (Place::Sessions, Need::Nothing);

/// All of them, in the order of the help and the bar.
pub(crate) static BINDINGS: &[Binding] = &[
    binding(
        (&[Key::Enter], "Enter", "attach"),
        "attach this terminal to the session; a stopped one is started; C-b d comes back",
        ON_SESSION,
        Some(0),
        Command::Attach,
    ),
    binding(
        (&[Key::Char('n')], "N", "new"),
        "make a new session; with several agents, choose one",
        (Place::Sessions, Need::Agent),
        Some(0),
        Command::New,
    ),
    binding(
        (&[Key::Char('c')], "C", "clone"),
        "copy the session's home under another name, on the same agent",
        ON_SESSION,
        Some(5),
        Command::Clone,
    ),
    binding(
        (&[Key::Char('e')], "E", "edit"),
        "change its name, port, dns name, command and caps",
        ON_SESSION,
        Some(4),
        Command::Edit,
    ),
    binding(
        (&[Key::Char('b')], "B", "background"),
        "detach every terminal from it and leave it running",
        ON_SESSION,
        Some(7),
        Command::Background,
    ),
    binding(
        (&[Key::Char('r')], "R", "restart"),
        "start it, detached",
        ON_SESSION,
        Some(6),
        Command::Restart,
    ),
    binding(
        (&[Key::Char('K')], "K", "kill"),
        "stop it and keep its home; asks (the capital letter: k moves up)",
        ON_SESSION,
        Some(3),
        Command::Kill,
    ),
    binding(
        (&[Key::Char('d')], "D", "delete"),
        "stop it and remove everything of it; wants its name",
        ON_SESSION,
        Some(2),
        Command::Delete,
    ),
    binding(
        (&[Key::Char('o')], "O", "override"),
        "clear the lock that a dead agent has left on it; asks",
        ON_SESSION,
        Some(9),
        Command::Override,
    ),
    binding(
        (&[Key::Enter], "Enter", "its sessions"),
        "on the page of agents: show the sessions of this one",
        (Place::Agents, Need::Agent),
        Some(0),
        Command::OfAgent,
    ),
    binding(
        (&[Key::Char('s')], "S", "settings"),
        "all there is to know about the session, its agent and this program",
        (Place::Everywhere, Need::Nothing),
        Some(8),
        Command::Settings,
    ),
    binding(
        (&[Key::Char('/')], "/", "filter"),
        "show only lines with these words; Enter keeps it, Esc takes it away",
        ON_LISTS,
        Some(3),
        Command::Filter,
    ),
    binding(
        (&[Key::Char('>'), Key::Char('.')], ">", "sort"),
        "sort by the next column",
        ON_SESSIONS,
        Some(10),
        Command::SortNext,
    ),
    binding(
        (&[Key::Char('<'), Key::Char(',')], "<", "sort back"),
        "sort by the column before",
        ON_SESSIONS,
        None,
        Command::SortBack,
    ),
    binding(
        (&[Key::Char('i')], "I", "invert"),
        "turn the order round",
        ON_SESSIONS,
        None,
        Command::Invert,
    ),
    binding(
        (&[Key::Char('w')], "W", "who waits"),
        "whoever waits for a person first, then what is done; once more: by access",
        ON_SESSIONS,
        None,
        Command::SortWaiting,
    ),
    binding(
        (&[Key::Char('g')], "G", "group"),
        "group by agent, or not",
        ON_SESSIONS,
        Some(11),
        Command::Group,
    ),
    binding(
        (&[Key::Tab], "Tab", "next page"),
        "the next session that waits for a person, or is done; if none is, the next page",
        ANYWHERE,
        Some(9),
        Command::NextPage,
    ),
    binding(
        (&[Key::Char('1')], "1", "sessions"),
        "the sessions",
        ANYWHERE,
        None,
        Command::Sessions,
    ),
    binding(
        (&[Key::Char('2'), Key::Char('a')], "2 A", "agents"),
        "the agents: how they can be reached, and what repairs them",
        ANYWHERE,
        None,
        Command::Agents,
    ),
    binding(
        (&[Key::Char('3'), Key::Char('v')], "3 V", "events"),
        "the events of all agents as they come",
        ANYWHERE,
        None,
        Command::Events,
    ),
    binding(
        (&[Key::Char('4'), Key::Char('m')], "4 M", "messages"),
        "what was done and said, and what is under way",
        ANYWHERE,
        None,
        Command::Messages,
    ),
    binding((&[Key::Up, Key::Char('k')], "↑ k", "up"), "one line up", ANYWHERE, None, Command::Up),
    binding(
        (&[Key::Down, Key::Char('j')], "↓ j", "down"),
        "one line down",
        ANYWHERE,
        None,
        Command::Down,
    ),
    binding(
        (&[Key::PageUp, Key::Ctrl('u')], "PgUp", "page up"),
        "one screen up",
        ANYWHERE,
        None,
        Command::PageUp,
    ),
    binding(
        (&[Key::PageDown, Key::Ctrl('d'), Key::Char(' ')], "PgDn", "page down"),
        "one screen down",
        ANYWHERE,
        None,
        Command::PageDown,
    ),
    binding((&[Key::Home], "Home", "first"), "the first line", ANYWHERE, None, Command::First),
    binding((&[Key::End], "End", "last"), "the last line", ANYWHERE, None, Command::Last),
    binding(
        (&[Key::Function(5)], "F5", "ask"),
        "ask every agent anew that the hub does not tell of",
        ANYWHERE,
        None,
        Command::Refresh,
    ),
    binding(
        (&[Key::Ctrl('l')], "C-l", "redraw"),
        "paint the screen anew",
        ANYWHERE,
        None,
        Command::Redraw,
    ),
    binding(
        (&[Key::Char('?'), Key::Function(1)], "?", "help"),
        "this help",
        ANYWHERE,
        Some(0),
        Command::Help,
    ),
    binding(
        (&[Key::Esc, Key::Backspace], "Esc", "back"),
        "back: out of a page, a dialog, a filter",
        (Place::Elsewhere, Need::Nothing),
        Some(0),
        Command::Back,
    ),
    binding(
        (&[Key::Char('q'), Key::Ctrl('c')], "Q", "quit"),
        "leave; sessions run on, and so does what is under way",
        ANYWHERE,
        Some(1),
        Command::Quit,
    ),
];

impl Binding {
    /// Whether it belongs to a page.
    pub(crate) fn is_on(&self, page: Page) -> bool {
        match self.place {
            Place::Everywhere => true,
            Place::Sessions => page == Page::Sessions,
            Place::Lists => page.is_list(),
            Place::Agents => page == Page::Agents,
            Place::Elsewhere => page != Page::Sessions,
        }
    }
}

/// What a key means on a page: itself first, then the letter in lower case.
pub(crate) fn meaning(key: &Key, page: Page) -> Option<&'static Binding> {
    let exact = |wanted: &Key| {
        BINDINGS.iter().find(|binding| binding.is_on(page) && binding.keys.contains(wanted))
    };
    exact(key).or_else(|| match key {
        Key::Char(sign) => exact(&Key::Char(sign.to_ascii_lowercase())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_on_a_page() {
        for page in Page::ALL {
            let on_page = || BINDINGS.iter().filter(|binding| binding.is_on(page));
            for binding in on_page() {
                for key in binding.keys {
                    let found = meaning(key, page).map(|found| found.command);
                    let count = on_page().filter(|other| other.keys.contains(key)).count();
                    assert_eq!((found, count), (Some(binding.command), 1), "{key:?} on {page:?}");
                }
            }
        }
    }

    #[test]
    fn letters_are_the_same_in_both_cases_but_one() {
        for binding in BINDINGS {
            for key in binding.keys {
                let Key::Char(sign) = key else { continue };
                let other = match sign.is_ascii_lowercase() {
                    true => sign.to_ascii_uppercase(),
                    false => sign.to_ascii_lowercase(),
                };
                let page = if binding.is_on(Page::Sessions) { Page::Sessions } else { Page::Help };
                let found = meaning(&Key::Char(other), page).map(|found| found.command);
                if !matches!(binding.command, Command::Kill | Command::Up) {
                    assert_eq!(found, Some(binding.command), "{other}");
                }
            }
        }
        let means = |sign| meaning(&Key::Char(sign), Page::Sessions).map(|found| found.command);
        assert_eq!((means('k'), means('K')), (Some(Command::Up), Some(Command::Kill)));
    }
}
