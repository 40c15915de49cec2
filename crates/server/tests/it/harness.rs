//! A server on a free port, and a client that shows every byte of an answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::oneshot;
use vermilion_engine::{Config, Database};
use vermilion_server::{Server, ServerConfig, ServerError};

/// Where collections are unless a test says otherwise.
pub(crate) const DATABASE: &str = "/api/v2/tenants/default_tenant/databases/default_database";

/// What `look` finds, waited for.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_at_most(Duration::from_secs(20), what, look)
}

/// The same, for what takes its time.
#[track_caller]
pub(crate) fn wait_at_most<T>(
    longest: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    while begun.elapsed() < longest {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what} did not come");
}

/// What an answer says that must have this status.
#[track_caller]
pub(crate) fn told(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    answer.json()
}

/// A running server with a database in memory.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) database: Arc<Database>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::over(Config::in_memory(), change)
    }

    pub(crate) fn over(database: Config, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig {
            port: 0,
            allow_reset: true,
            ..ServerConfig::default()
        };
        change(&mut config);
        let database = Arc::new(Database::open(database).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime
            .block_on(Server::bind(config, database.clone()))
            .unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime.block_on(server.run(async {
                let _ = stopped.await;
            }))
        });
        Self {
            address,
            database,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Tells the server to stop, without waiting for it.
    pub(crate) fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the server has ended.
    pub(crate) fn wait(&mut self) -> Result<(), ServerError> {
        self.tell_to_stop();
        self.thread.take().unwrap().join().unwrap()
    }

    pub(crate) fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Connection {
            stream: BufReader::new(stream),
        }
    }

    /// Sends a request with a JSON body, or none.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let json = ["content-type: application/json"];
        self.connect().request(method, path, &json, body.as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body))
    }

    /// Makes a collection and answers the path of its records.
    pub(crate) fn collection(&self, name: &str) -> String {
        let made = self.post(
            &format!("{DATABASE}/collections"),
            &serde_json::json!({ "name": name }),
        );
        assert_eq!(made.status, 200, "{}", made.text());
        format!(
            "{DATABASE}/collections/{}",
            made.json()["id"].as_str().unwrap()
        )
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|header| header.0 == name);
        found.map(|header| header.1.as_str())
    }

    /// Checks status and whole body.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text()), (status, body));
    }

    /// Checks status, name and a part of the message of an error.
    #[track_caller]
    pub(crate) fn fails(&self, status: u16, name: &str, message: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        assert_eq!(body["error"], name, "{body}");
        assert!(
            body["message"].as_str().unwrap().contains(message),
            "{body}"
        );
        assert_eq!(self.header("content-type"), Some("application/json"));
    }
}

/// A connection that takes one request after the other.
pub(crate) struct Connection<S = TcpStream> {
    pub(crate) stream: BufReader<S>,
}

impl<S: Read + Write> Connection<S> {
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        let length = body.len().to_string();
        head.extend(["content-length: ", &length, "\r\n\r\n"]);
        // In one piece: a server that answers without reading a body closes the connection where the
        // body comes later. One that refuses a large body may close before it has read all of it.
        let _ = self
            .stream
            .get_mut()
            .write_all(&[head.as_bytes(), body].concat());
        self.answer()
    }

    /// Reads an answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let status = line
            .split(' ')
            .nth(1)
            .expect("a status line")
            .parse()
            .unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = headers.iter().find(|header| header.0 == "content-length");
        let mut body = vec![0; length.map_or(0, |header| header.1.parse().unwrap())];
        self.stream.read_exact(&mut body).unwrap();
        let is_chunked = headers.iter().any(|header| header.1 == "chunked");
        if is_chunked {
            body = self.chunks();
        }
        Answer {
            status,
            headers,
            body,
        }
    }

    /// Reads a body that comes in chunks.
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let length = usize::from_str_radix(line.trim_end(), 16).expect("the length of a chunk");
            let mut chunk = vec![0; length + 2];
            self.stream.read_exact(&mut chunk).unwrap();
            if length == 0 {
                return body;
            }
            body.extend(&chunk[..length]);
        }
    }

    /// Whether the server has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream.read(&mut [0]).is_ok_and(|bytes| bytes == 0)
    }
}
