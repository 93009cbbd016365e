//! A stand between the agent and the engine: the engine can be gone, or say nothing, without
//! anybody else on this machine noticing.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::support::DOCKER_SOCKET;

/// What the engine is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Up,
    /// Its socket is gone and its connections are closed.
    Down,
    /// Connections stand and nothing comes.
    Hung,
}

/// The stand. It ends with the test's process.
pub struct Engine {
    socket: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    mode: Mutex<Mode>,
    changed: Condvar,
    streams: Mutex<Vec<UnixStream>>,
}

impl Engine {
    /// Listens below `directory`.
    pub fn start(directory: &Path) -> Engine {
        let socket = directory.join("engine.sock");
        let listener = UnixListener::bind(&socket).expect("the path is short and free");
        let shared = Arc::new(Shared {
            mode: Mutex::new(Mode::Up),
            changed: Condvar::new(),
            streams: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                join(&accepting, stream);
            }
        });
        Engine { socket, shared }
    }

    /// Where it listens, for `--docker-socket`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The engine is gone.
    pub fn go_down(&self) {
        fs::rename(&self.socket, self.hidden()).expect("it was up");
        self.set(Mode::Down);
        for stream in self.shared.streams.lock().expect("nobody panics").drain(..) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    /// The engine says nothing more.
    pub fn hang(&self) {
        self.set(Mode::Hung);
    }

    /// The engine is there.
    pub fn come_back(&self) {
        self.set(Mode::Up);
        if self.hidden().exists() {
            fs::rename(self.hidden(), &self.socket).expect("it is ours");
        }
    }

    fn hidden(&self) -> PathBuf {
        self.socket.with_extension("gone")
    }

    fn set(&self, mode: Mode) {
        *self.shared.mode.lock().expect("nobody panics") = mode;
        self.shared.changed.notify_all();
    }
}

fn join(shared: &Arc<Shared>, client: UnixStream) {
    let Ok(engine) = UnixStream::connect(DOCKER_SOCKET) else { return };
    let clone = |stream: &UnixStream| stream.try_clone().expect("there are descriptors");
    let mut held = shared.streams.lock().expect("nobody panics");
    held.extend([clone(&client), clone(&engine)]);
    drop(held);
    for (from, to) in [(clone(&client), clone(&engine)), (engine, client)] {
        let shared = Arc::clone(shared);
        thread::spawn(move || carry(&shared, from, to));
    }
}

fn carry(shared: &Shared, mut from: UnixStream, mut to: UnixStream) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let mode = shared.mode.lock().unwrap_or_else(PoisonError::into_inner);
        let mode = shared.changed.wait_while(mode, |mode| *mode == Mode::Hung);
        drop(mode);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(Shutdown::Write);
}
