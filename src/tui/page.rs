//! The pages of the screen.

/// One of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Page {
    /// The table of sessions.
    Sessions,
    Agents,
    /// Events as they come.
    Events,
    /// What was said, and what is under way.
    Messages,
    /// All about one session, its agent and this program.
    Settings,
    Help,
}

impl Page {
    /// All pages; the first ones in the order of Tab.
    pub(crate) const ALL: [Page; 6] =
        [Page::Sessions, Page::Agents, Page::Events, Page::Messages, Page::Settings, Page::Help];

    /// Whether it has lines, one of which is selected, and that can be filtered.
    pub(crate) const fn is_list(self) -> bool {
        matches!(self, Page::Sessions | Page::Agents | Page::Events | Page::Messages)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Page::Sessions => "sessions",
            Page::Agents => "agents",
            Page::Events => "events",
            Page::Messages => "messages",
            Page::Settings => "settings",
            Page::Help => "help",
        }
    }
}
