//! A web server that has one file, a list with its checksum, and a line that can be cut.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is asked for besides the list.
pub const NAME: &str = "guest.qcow2";

/// The server. Its thread ends with the process.
#[derive(Clone)]
pub struct Web {
    file: PathBuf,
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The checksum in the list.
    sum: String,
    /// The next answer ends after so many bytes of the file.
    cut: Option<u64>,
    /// From which byte on the file was asked for, each time.
    asked: Vec<u64>,
}

impl Web {
    /// Serves `file` at every address of this machine.
    pub fn start(file: &Path) -> Web {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let web = Web { file: file.to_owned(), port, state: Arc::default() };
        let server = web.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Who hangs up has what was wanted.
                let _gone = stream.and_then(|stream| server.answer(&stream));
            }
        });
        web
    }

    /// Where the file is, for a host that reaches this machine at `address`.
    pub fn url(&self, address: &str) -> String {
        format!("http://{address}:{}/images/{NAME}", self.port)
    }

    /// Lists the file with this checksum from now on.
    pub fn list(&self, sum: &str) {
        sum.clone_into(&mut self.state.lock().expect("no thread fails").sum);
    }

    /// Cuts the next transfer of the file after so many bytes.
    pub fn cut_after(&self, bytes: u64) {
        self.state.lock().expect("no thread fails").cut = Some(bytes);
    }

    /// From which byte on the file was asked for, each time until now.
    pub fn asked(&self) -> Vec<u64> {
        std::mem::take(&mut self.state.lock().expect("no thread fails").asked)
    }

    fn answer(&self, mut stream: &TcpStream) -> io::Result<()> {
        let head: Vec<String> = BufReader::new(stream)
            .lines()
            .map_while(|line| line.ok().filter(|line| !line.is_empty()))
            .collect();
        let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        match path.rsplit('/').next() {
            Some("SHA256SUMS") => {
                let sum = self.state.lock().expect("no thread fails").sum.clone();
                let list = format!("{sum} *{NAME}\n");
                let length = list.len();
                write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{list}")
            }
            Some(NAME) => self.send(stream, start_of(&head)),
            _ => stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n"),
        }
    }

    fn send(&self, mut stream: &TcpStream, start: u64) -> io::Result<()> {
        let cut = {
            let mut state = self.state.lock().expect("no thread fails");
            state.asked.push(start);
            state.cut.take()
        };
        let total = fs::metadata(&self.file)?.len();
        let length = total - start.min(total);
        let status = if start == 0 { "200 OK" } else { "206 Partial Content" };
        let range = format!("bytes {start}-{}/{total}", total - 1);
        write!(
            stream,
            "HTTP/1.0 {status}\r\nContent-Length: {length}\r\nContent-Range: {range}\r\n\r\n"
        )?;
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(start))?;
        io::copy(&mut file.take(cut.unwrap_or(length)), &mut stream).map(drop)
    }
}

/// The first byte that a request wants (RFC 9110 §14.2).
fn start_of(head: &[String]) -> u64 {
    let range = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("range").then(|| value.strip_prefix("bytes="))?
    });
    range.and_then(|range| range.split('-').next()?.parse().ok()).unwrap_or(0)
}
