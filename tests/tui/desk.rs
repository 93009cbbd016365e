//! A screen on a desk: a model, a clock in the test's hand, and agents that are not there.

use convocate::base::time::{Mono, Now, Wall};
use convocate::fleet::registry::AgentId;
use convocate::rpc::call::Call;
use convocate::tui::keys::{Decoder, Key};
use convocate::tui::messages::{Enrolled, HostFiles, Message, ScreenRequestId};
use convocate::tui::model::{Model, ScreenAction};
use convocate::tui::paint::Look;
use convocate::tui::view;
use serde_json::{Value, json};

pub const COLOUR: Look = Look { has_colour: true, has_unicode: true };
/// 2026-01-02T10:00:00Z
pub const START: i64 = 1_767_348_000;

const LONG_NAME: &str = "a-name-of-sixty-four-characters-that-goes-on-and-on-until-its-end";

pub struct Desk {
    pub model: Model,
    pub seconds: u64,
    pub actions: Vec<ScreenAction>,
}

pub fn agent_id(number: usize) -> AgentId {
    let letters = b"abcdefghjkmnpqrstuvwxyz23456789";
    let last = char::from(letters[number % letters.len()]);
    let before = char::from(letters[number / letters.len() % letters.len()]);
    AgentId::parse(&format!("wxyzwxyzwx{before}{last}")).expect("an id")
}

pub fn enrolled(number: usize) -> Enrolled {
    Enrolled {
        id: agent_id(number),
        host: format!("host-{number}"),
        address: format!("host-{number}:222"),
        repair: format!("convocate-host init-agent --host host-{number}"),
    }
}

pub fn id(number: usize) -> String {
    format!("{:08x}-0000-4000-8000-{number:012x}", number.wrapping_mul(0x9e37_79b1) & 0xffff_ffff)
}

/// A session that was accessed so many seconds before the start.
pub fn session(number: usize, name: &str, age: i64) -> Value {
    json!({
        "uuid": id(number), "name": name, "created_at": Wall::new(START - 900_000, 0),
        "last_accessed": Wall::new(START - age, 0), "image": "convocate:0.1.0",
        "command": "claude", "memory": 4_u64 << 30, "cpus": 2.0, "pids": 512,
    })
}

pub fn with(mut session: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().expect("fields") {
        session[name] = value.clone();
    }
    session
}

pub fn running(session: Value) -> Value {
    with(session, json!({ "running": true, "started_at": Wall::new(START - 7_200, 0) }))
}

impl Desk {
    pub fn new(cols: usize, rows: usize) -> Desk {
        let mut desk = Desk { model: blank(cols, rows), seconds: 100, actions: Vec::new() };
        desk.tick(0);
        desk
    }

    /// Three agents behind a hub: one with sessions of all kinds, one with few, one that is lost.
    pub fn furnished(cols: usize, rows: usize) -> Desk {
        let mut desk = Desk::new(cols, rows);
        let agents = (1..=3).map(enrolled).collect();
        desk.news(Message::Host(HostFiles { agents, ..HostFiles::default() }));
        desk.news(Message::HubFound);
        desk.news(Message::HubLine(snapshot().to_string().into_bytes()));
        desk
    }

    /// So many agents and no hub.
    pub fn alone(agents: usize) -> Desk {
        let mut desk = Desk::new(80, 24);
        let agents = (1..=agents).map(enrolled).collect();
        desk.news(Message::Host(HostFiles { agents, ..HostFiles::default() }));
        desk.news(Message::HubGone("no hub answers on /run/x: gone".to_owned()));
        desk
    }

    pub fn now(&self) -> Now {
        let wall = START - 100 + i64::try_from(self.seconds).expect("small");
        Now { mono: Mono::from_nanos(self.seconds * 1_000_000_000), wall: Wall::new(wall, 0) }
    }

    pub fn tick(&mut self, seconds: u64) {
        self.seconds += seconds;
        let actions = self.model.tick(self.now());
        self.actions.extend(actions);
        self.model.refresh();
    }

    pub fn news(&mut self, message: Message) {
        let actions = self.model.receive(self.now(), message);
        self.actions.extend(actions);
        self.model.refresh();
    }

    pub fn event(&mut self, agent: usize, kind: &str, session: Option<usize>, data: &Value) {
        let mut event = json!({
            "type": kind, "agent_id": agent_id(agent).as_str(), "data": data,
            "timestamp": self.now().wall,
        });
        if let Some(number) = session {
            event["session_id"] = json!(id(number));
        }
        let line = json!({ "seq": 1, "event": event }).to_string();
        self.news(Message::HubLine(line.into_bytes()));
    }

    /// Types text; `\r` is Enter, `\x1b` followed by nothing Escape.
    pub fn types(&mut self, text: &str) {
        let (mut decoder, mut keys) = (Decoder::default(), Vec::new());
        decoder.feed(self.now().mono, text.as_bytes(), &mut keys);
        decoder.tick(Mono::from_nanos(u64::MAX), &mut keys);
        keys.iter().for_each(|key| self.presses(key));
    }

    pub fn presses(&mut self, key: &Key) {
        let actions = self.model.key(self.now(), key);
        self.actions.extend(actions);
        self.model.refresh();
    }

    pub fn screen(&self) -> String {
        view::draw(&self.model).to_string()
    }

    #[track_caller]
    pub fn shows(&self, text: &str) {
        assert!(self.screen().contains(text), "{text:?} is not shown:\n{}", self.screen());
    }

    #[track_caller]
    pub fn hides(&self, text: &str) {
        assert!(!self.screen().contains(text), "{text:?} is shown:\n{}", self.screen());
    }

    /// The only thing that an agent was asked since the last look.
    #[track_caller]
    pub fn asked(&mut self) -> (ScreenRequestId, AgentId, Call) {
        let actions = std::mem::take(&mut self.actions);
        match &actions[..] {
            [ScreenAction::Ask { request, agent, call }] => (*request, agent.clone(), call.clone()),
            _ => unreachable!("{actions:?}"),
        }
    }

    pub fn answers(&mut self, request: ScreenRequestId, answer: Result<Value, &str>) {
        let answer = answer.map_err(str::to_owned);
        self.news(Message::Answered { request, answer });
    }

    /// Selects the session of this name.
    #[track_caller]
    pub fn selects(&mut self, name: &str) {
        self.presses(&Key::Home);
        for _ in 0..self.model.items.len() {
            if self.selected() == name {
                return;
            }
            self.presses(&Key::Down);
        }
        assert_eq!(self.selected(), name);
    }

    pub fn selected(&self) -> String {
        let row = self.model.selected.as_ref().and_then(|spot| self.model.row(spot));
        row.map_or_else(String::new, |row| row.name().to_owned())
    }
}

fn blank(cols: usize, rows: usize) -> Model {
    let now = Now { mono: Mono::from_nanos(100_000_000_000), wall: Wall::new(START, 0) };
    Model::new((cols, rows), COLOUR, now)
}

pub fn snapshot() -> Value {
    let attached =
        json!({ "attached": true, "attached_count": 2, "port": 8080, "dns_name": "web" });
    let resolver = json!({ "port": 53, "protocol": "udp", "dns_name": "resolver" });
    json!({ "snapshot": { "seq": 7, "agents": [
        { "id": agent_id(1).as_str(), "state": "connected", "version": "0.1.0",
          "image": "convocate:0.1.0", "last_news": Wall::new(START, 0),
          "load": { "sessions": 6, "running": 3, "operations": 1, "certificate_days_left": 243,
            "usage": {
              id(1): [1250, 1_610_612_736_u64],
              id(2): [3, 44_040_192],
              id(5): [null, 209_715],
            } },
          "sessions": [
            with(running(session(1, "web server", 5)), attached),
            running(session(2, "parser rewrite", 400)),
            session(3, "notes", 90_000),
            with(session(4, "half moved", 3_000), json!({ "locked": true })),
            with(running(session(5, "resolver", 7_300)), resolver),
            with(session(6, "", 20_000),
                 json!({ "broken": "session.json: expected value at line 1 column 1" })),
          ] },
        { "id": agent_id(2).as_str(), "state": "connected", "version": "0.1.0",
          "image": "convocate:0.1.0", "last_news": Wall::new(START, 0),
          "sessions": [
            running(session(7, LONG_NAME, 61)),
            session(8, "日本語", 86_400),
          ] },
        { "id": agent_id(3).as_str(), "state": "lost", "version": "0.0.9",
          "image": "convocate:0.0.9", "last_news": Wall::new(START - 300, 0),
          "error": "connection to host-3:222: the connection was reset by the peer",
          "sessions": [running(session(9, "far away", 1_000))] },
    ] } })
}
