//! One agent's connection: dialled, proven, lost, and dialled again.
//!
//! ```text
//! Waiting ──> Dialling ──> Handshake ──> Ready
//!    ^            │             │          │
//!    └────────────┴─────────────┴──────────┘   lost: Waiting again, or Over in one-shot mode
//! ```
//!
//! A connection that is lost waits before it is dialled again; the wait doubles up to a cap and
//! falls back only after the agent has answered something. Where nobody answers at all it does not
//! double, and the stream is opened anew again and again, so that a network that is back is noticed
//! within two seconds. In one-shot mode the first loss is the last, but for one: a listener that
//! has too many connections says when to come again, and is dialled once more then, if that is
//! soon. Nothing here opens a stream: [`StreamAction`] asks the driver to.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::backoff::Backoff;
use crate::base::endpoint::Endpoint;
use crate::base::rng::Rng;
use crate::base::time::Mono;
use crate::base::unreached::Unreached;
use crate::fleet::registry::KnownAgent;
use crate::limits::{
    CONNECT_RETRY_AFTER, CONNECT_RETRY_JITTER, DIAL_TIMEOUT, REDIAL_FIRST, SSH_RETRY_WAIT_MAX,
};
use crate::ssh::{self, Conn};

/// What happens after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: whoever asked gets the error.
    Once,
    /// It is dialled again and again; the longest wait is the one given.
    Persistent(Duration),
}

/// What the driver is to do with the stream below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamAction {
    /// Drop any old stream, or attempt at one, and open one to [`KnownAgent::address`]. Call
    /// [`Connection::connects_started`] when its address is known, and then
    /// [`Connection::connected`] or [`Connection::dial_failed`].
    Dial,
    /// Drop the stream, or the attempt to open one.
    HangUp,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The stream could not be opened: where to, and the system's words.
    Dial {
        /// Where the agent is dialled.
        address: String,
        /// What the system said.
        text: String,
    },
    /// Somebody answered with another key than the pinned one.
    HostKey {
        /// Fingerprint of the pinned key.
        expected: String,
        /// Fingerprint of the key that was shown.
        got: String,
        /// Where the pinned key stands.
        path: PathBuf,
        /// The command that pins the agent's key anew.
        repair: String,
    },
    /// The agent does not want our key.
    KeyRefused {
        /// Where the agent was dialled.
        address: String,
        /// Where our key stands.
        path: PathBuf,
        /// The command that makes it known to the agent.
        repair: String,
    },
    /// The transport ended.
    Ssh {
        /// Where the agent was dialled.
        address: String,
        text: String,
    },
}

impl fmt::Display for Lost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Dial { address, text } => write!(out, "cannot connect to {address}: {text}"),
            Lost::HostKey { expected, got, path, repair } => write!(
                out,
                "host key mismatch: {} pins {expected}, the host shows {got}; \
                 if the host was really set up anew, run: {repair}",
                path.display()
            ),
            Lost::KeyRefused { address, path, repair } => write!(
                out,
                "{address} does not accept the key {}; to enrol it again, run: {repair}",
                path.display()
            ),
            Lost::Ssh { address, text } => write!(out, "connection to {address}: {text}"),
        }
    }
}

impl std::error::Error for Lost {}

/// Where a connection stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// It will be dialled at this time.
    Waiting(Mono),
    /// A stream is being opened.
    Dialling,
    /// The stream is there, the proof is not.
    Handshake,
    /// Both ends have proven themselves.
    Ready,
    /// It was lost and stays so.
    Over,
}

/// What a connection tells its owner.
#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    /// Both ends have proven themselves.
    Ready,
    /// It is gone.
    Lost(Lost),
    /// Something happened on a channel.
    Channel(ssh::Event),
}

/// `leaving` is what is left of a lost connection: its last words may still have to be written.
enum ConnectionStage {
    Waiting {
        until: Mono,
        leaving: Option<Box<Conn>>,
    },
    /// `redial_at` is when the stream is to be opened anew; none while a name is looked up.
    Dialling {
        until: Mono,
        redial_at: Option<Mono>,
    },
    Handshake(Box<Conn>),
    Ready(Box<Conn>),
    Over {
        leaving: Option<Box<Conn>>,
    },
}

/// A connection that is kept up, or made once.
pub(crate) struct Connection {
    agent: Arc<KnownAgent>,
    mode: Mode,
    backoff: Backoff,
    rng: Rng,
    stage: ConnectionStage,
    action: Option<StreamAction>,
    /// In one-shot mode: until when it comes again if it is told to, once it was.
    retries_until: Option<Mono>,
    /// A loss that [`Connection::poll`] has not told yet.
    untold: Option<Lost>,
    last_error: Option<Lost>,
}

impl Connection {
    /// A connection that wants to be dialled at once. `seed` is for the jitter of its waits.
    pub(crate) fn new(agent: Arc<KnownAgent>, mode: Mode, seed: [u8; 32], now: Mono) -> Connection {
        Connection {
            agent,
            mode,
            backoff: backoff(mode),
            rng: Rng::from_seed(seed),
            stage: dialling(now),
            action: Some(StreamAction::Dial),
            retries_until: None,
            untold: None,
            last_error: None,
        }
    }

    /// Changes what happens after the next loss.
    pub(crate) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
        self.backoff = backoff(mode);
    }

    /// The address is known, and a stream to it is being opened.
    pub(crate) fn connects_started(&mut self, now: Mono) {
        if let ConnectionStage::Dialling { redial_at, .. } = &mut self.stage {
            let jitter_ms = u32::try_from(CONNECT_RETRY_JITTER.as_millis()).unwrap_or(u32::MAX);
            let jitter = Duration::from_millis(u64::from(self.rng.below(jitter_ms)));
            *redial_at = Some(now + CONNECT_RETRY_AFTER + jitter);
        }
    }

    /// There is news of the agent from elsewhere: a wait is over.
    pub(crate) fn reconnect_now(&mut self, now: Mono) {
        if matches!(self.stage, ConnectionStage::Waiting { .. }) {
            self.stage = dialling(now);
            self.action = Some(StreamAction::Dial);
        }
    }

    /// The stream is open. `seed` is fresh entropy for this connection's secrets.
    pub(crate) fn connected(&mut self, now: Mono, seed: [u8; 32]) {
        if matches!(self.stage, ConnectionStage::Dialling { .. }) {
            let conn = Conn::client(Arc::clone(&self.agent.config), seed, now);
            self.stage = ConnectionStage::Handshake(Box::new(conn));
        }
    }

    /// The stream could not be opened.
    pub(crate) fn dial_failed(&mut self, now: Mono, why: &Unreached) {
        if matches!(self.stage, ConnectionStage::Dialling { .. }) {
            let wait = match why.is_silence() {
                true => self.backoff.brief(&mut self.rng),
                false => self.backoff.delay(&mut self.rng),
            };
            self.lose(now + wait, self.no_stream(format!("{why}{}", what_to_do(why))));
        }
    }

    /// The agent has answered something: the next wait is short again.
    pub(crate) fn answered(&mut self) {
        self.backoff.reset();
    }

    /// Ends it for good, with a word to the agent if there is one to hear it.
    pub(crate) fn close(&mut self) {
        let leaving =
            match std::mem::replace(&mut self.stage, ConnectionStage::Over { leaving: None }) {
                ConnectionStage::Handshake(mut conn) | ConnectionStage::Ready(mut conn) => {
                    conn.disconnect("done");
                    Some(conn)
                }
                ConnectionStage::Waiting { leaving, .. } | ConnectionStage::Over { leaving } => {
                    leaving
                }
                ConnectionStage::Dialling { .. } => {
                    self.action = Some(StreamAction::HangUp);
                    None
                }
            };
        self.stage = ConnectionStage::Over { leaving };
    }

    /// What has happened. To be asked until it says `None`, after every other call.
    pub(crate) fn poll(&mut self, now: Mono) -> Option<ConnectionEvent> {
        if let Some(lost) = self.untold.take() {
            return Some(ConnectionEvent::Lost(lost));
        }
        let event = match &mut self.stage {
            ConnectionStage::Handshake(conn) | ConnectionStage::Ready(conn) => conn.poll_event()?,
            ConnectionStage::Waiting { .. }
            | ConnectionStage::Dialling { .. }
            | ConnectionStage::Over { .. } => return None,
        };
        match event {
            ssh::Event::Authenticated { .. } => {
                self.enter_ready();
                Some(ConnectionEvent::Ready)
            }
            ssh::Event::Disconnected(error) => {
                let told = error.retry_after().filter(|_| self.ready().is_none());
                let lost = self.why(error);
                let wait = self.backoff.delay(&mut self.rng).max(told.unwrap_or_default());
                match told {
                    Some(told) if self.retries_at(now, told) => self.come_again(now + told, lost),
                    _ => self.lose(now + wait, lost),
                }
                self.untold.take().map(ConnectionEvent::Lost)
            }
            event => Some(ConnectionEvent::Channel(event)),
        }
    }

    /// What the driver is to do. To be asked after every other call.
    pub(crate) fn poll_action(&mut self) -> Option<StreamAction> {
        self.action.take()
    }

    /// The transport, once both ends have proven themselves.
    pub(crate) fn conn(&mut self) -> Option<&mut Conn> {
        match &mut self.stage {
            ConnectionStage::Ready(conn) => Some(conn),
            _ => None,
        }
    }

    /// The transport for looking, once both ends have proven themselves.
    pub(crate) fn ready(&self) -> Option<&Conn> {
        match &self.stage {
            ConnectionStage::Ready(conn) => Some(conn),
            _ => None,
        }
    }

    /// Whom it connects to.
    pub(crate) fn agent(&self) -> &Arc<KnownAgent> {
        &self.agent
    }

    /// What happens after a loss.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn status(&self) -> ConnectionStatus {
        match self.stage {
            ConnectionStage::Waiting { until, .. } => ConnectionStatus::Waiting(until),
            ConnectionStage::Dialling { .. } => ConnectionStatus::Dialling,
            ConnectionStage::Handshake(_) => ConnectionStatus::Handshake,
            ConnectionStage::Ready(_) => ConnectionStatus::Ready,
            ConnectionStage::Over { .. } => ConnectionStatus::Over,
        }
    }

    /// The last loss; kept while connected, too.
    pub(crate) fn last_error(&self) -> Option<&Lost> {
        self.last_error.as_ref()
    }

    fn enter_ready(&mut self) {
        self.stage =
            match std::mem::replace(&mut self.stage, ConnectionStage::Over { leaving: None }) {
                ConnectionStage::Handshake(conn) => ConnectionStage::Ready(conn),
                stage => stage,
            };
    }

    /// Whether it is dialled once more after `wait`, although it is made once: under an attack a
    /// listener may have to turn it away more than once.
    fn retries_at(&mut self, now: Mono, wait: Duration) -> bool {
        let until = *self.retries_until.get_or_insert(now + SSH_RETRY_WAIT_MAX);
        self.mode == Mode::Once && now + wait <= until
    }

    /// Nothing is told of this loss unless it is the last.
    fn come_again(&mut self, until: Mono, lost: Lost) {
        let over = ConnectionStage::Over { leaving: None };
        if let ConnectionStage::Handshake(conn) = std::mem::replace(&mut self.stage, over) {
            self.stage = ConnectionStage::Waiting { until, leaving: Some(conn) };
        }
        self.last_error = Some(lost);
    }

    /// It is lost, and dialled again at `until` if it is dialled again at all.
    fn lose(&mut self, until: Mono, lost: Lost) {
        let leaving =
            match std::mem::replace(&mut self.stage, ConnectionStage::Over { leaving: None }) {
                ConnectionStage::Handshake(conn) | ConnectionStage::Ready(conn) => Some(conn),
                ConnectionStage::Waiting { leaving, .. } | ConnectionStage::Over { leaving } => {
                    leaving
                }
                ConnectionStage::Dialling { .. } => None,
            };
        self.stage = match self.mode {
            Mode::Once => ConnectionStage::Over { leaving },
            Mode::Persistent(_) => ConnectionStage::Waiting { until, leaving },
        };
        self.tell(lost);
    }

    /// Nobody has answered for so long that it is told. In persistent mode it goes on dialling: a
    /// wait would be on top of those between two attempts.
    fn give_up(&mut self, now: Mono) {
        match (&mut self.stage, self.mode) {
            (ConnectionStage::Dialling { until, redial_at: Some(_) }, Mode::Persistent(_)) => {
                *until = now + DIAL_TIMEOUT;
            }
            // A name that is looked up for so long is looked up anew.
            (_, Mode::Persistent(_)) => {
                (self.stage, self.action) = (dialling(now), Some(StreamAction::Dial));
            }
            (_, Mode::Once) => {
                (self.stage, self.action) =
                    (ConnectionStage::Over { leaving: None }, Some(StreamAction::HangUp));
            }
        }
        let seconds = DIAL_TIMEOUT.as_secs();
        self.tell(self.no_stream(format!("no answer within {seconds} s{IS_IT_UP}")));
    }

    fn no_stream(&self, text: String) -> Lost {
        Lost::Dial { address: self.agent.address.to_string(), text }
    }

    fn tell(&mut self, lost: Lost) {
        self.last_error = Some(lost.clone());
        self.untold = Some(lost);
    }

    fn why(&self, error: ssh::Error) -> Lost {
        match error {
            ssh::Error::HostKeyMismatch { expected, got } => Lost::HostKey {
                expected,
                got,
                path: self.agent.entry.host_key(),
                repair: self.agent.repair(),
            },
            error => {
                let advice = match error {
                    ssh::Error::StreamEnd | ssh::Error::LoginGrace if self.ready().is_none() => {
                        "; its log there says why: journalctl -u convocate-agent"
                    }
                    ssh::Error::ByPeer { .. } if error.retry_after().is_some() => {
                        "; try again in a moment"
                    }
                    _ => "",
                };
                let text = format!("{error}{advice}");
                Lost::Ssh { address: self.agent.address.to_string(), text }
            }
        }
    }

    /// Whoever reads or writes the stream now, the leaving included.
    fn stream_end(&self) -> Option<&Conn> {
        match &self.stage {
            ConnectionStage::Handshake(conn) | ConnectionStage::Ready(conn) => Some(conn),
            ConnectionStage::Waiting { leaving, .. } | ConnectionStage::Over { leaving } => {
                leaving.as_deref()
            }
            ConnectionStage::Dialling { .. } => None,
        }
    }

    fn live_end(&mut self) -> Option<&mut Conn> {
        match &mut self.stage {
            ConnectionStage::Handshake(conn) | ConnectionStage::Ready(conn) => Some(conn),
            ConnectionStage::Waiting { .. }
            | ConnectionStage::Over { .. }
            | ConnectionStage::Dialling { .. } => None,
        }
    }
}

const IS_IT_UP: &str = "; see whether the host is up, and its firewall lets this port through";

/// What a person can do where no stream came about, to follow the reason.
fn what_to_do(why: &Unreached) -> &'static str {
    match why {
        Unreached::Silent(_) => IS_IT_UP,
        // The system's words; a name that is not found has others.
        Unreached::Refused(text) if text.to_lowercase().contains("connection refused") => {
            "; nothing listens there: run on that host: systemctl status convocate-agent"
        }
        Unreached::Refused(_) => "",
    }
}

fn dialling(now: Mono) -> ConnectionStage {
    ConnectionStage::Dialling { until: now + DIAL_TIMEOUT, redial_at: None }
}

fn backoff(mode: Mode) -> Backoff {
    match mode {
        Mode::Once => Backoff::new(REDIAL_FIRST, REDIAL_FIRST),
        Mode::Persistent(cap) => Backoff::new(REDIAL_FIRST, cap),
    }
}

/// The stream's end: the transport's while there is one. Without one it takes nothing, gives
/// nothing and is finished.
impl Endpoint for Connection {
    fn input_space(&mut self) -> &mut [u8] {
        self.live_end().map_or(&mut [], Conn::input_space)
    }

    fn input(&mut self, now: Mono, len: usize) {
        if let Some(conn) = self.live_end() {
            conn.input(now, len);
        }
    }

    fn input_end(&mut self, now: Mono) {
        if let Some(conn) = self.live_end() {
            conn.input_end(now);
        }
    }

    fn output(&self) -> &[u8] {
        self.stream_end().map_or(&[], Endpoint::output)
    }

    fn output_sent(&mut self, len: usize) {
        match &mut self.stage {
            ConnectionStage::Handshake(conn) | ConnectionStage::Ready(conn) => {
                conn.output_sent(len)
            }
            ConnectionStage::Waiting { leaving: Some(conn), .. }
            | ConnectionStage::Over { leaving: Some(conn) } => {
                conn.output_sent(len);
            }
            ConnectionStage::Waiting { .. }
            | ConnectionStage::Over { .. }
            | ConnectionStage::Dialling { .. } => {}
        }
    }

    fn deadline(&self) -> Option<Mono> {
        match &self.stage {
            ConnectionStage::Waiting { until, .. } => Some(*until),
            ConnectionStage::Dialling { until, redial_at } => {
                Some(redial_at.unwrap_or(*until).min(*until))
            }
            ConnectionStage::Handshake(conn) | ConnectionStage::Ready(conn) => conn.deadline(),
            ConnectionStage::Over { .. } => None,
        }
    }

    fn tick(&mut self, now: Mono) {
        match &mut self.stage {
            ConnectionStage::Waiting { until, .. } if *until <= now => self.reconnect_now(now),
            ConnectionStage::Dialling { until, .. } if *until <= now => self.give_up(now),
            ConnectionStage::Dialling { redial_at: Some(at), .. } if *at <= now => {
                if let ConnectionStage::Dialling { redial_at, .. } = &mut self.stage {
                    *redial_at = None;
                }
                self.action = Some(StreamAction::Dial);
            }
            ConnectionStage::Handshake(conn) | ConnectionStage::Ready(conn) => conn.tick(now),
            ConnectionStage::Waiting { .. }
            | ConnectionStage::Dialling { .. }
            | ConnectionStage::Over { .. } => {}
        }
    }

    fn is_finished(&self) -> bool {
        match &self.stage {
            ConnectionStage::Handshake(conn) | ConnectionStage::Ready(conn) => conn.is_finished(),
            ConnectionStage::Waiting { .. }
            | ConnectionStage::Dialling { .. }
            | ConnectionStage::Over { .. } => true,
        }
    }
}
