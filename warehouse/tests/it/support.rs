//! A warehouse in a process of its own, and curl to talk to it.

use service::Shutdown;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;
use warehouse::{Limits, WarehouseConfig};

pub const READ: &str = "read-token-0123456789";
pub const WRITE: &str = "write-token-0123456789";
/// Set in the process that is to be a warehouse: its data directory.
const DATA: &str = "GOKART_TEST_WAREHOUSE_DATA";
const LIBRARY: &str = "GOKART_TEST_WAREHOUSE_LIBRARY";
const SMALL: &str = "GOKART_TEST_WAREHOUSE_SMALL";

/// The engine library, fetched when it is not there; `None`, said loudly, when it cannot be.
pub fn library() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let fetched = Command::new(root.join("deploy/chdb/fetch.sh"))
        .current_dir(&root)
        .stderr(Stdio::inherit())
        .output()
        .expect("the fetch script starts");
    if !fetched.status.success() {
        eprintln!("SKIPPED: no engine library, so nothing here was tested against the engine");
        return None;
    }
    let path = String::from_utf8(fetched.stdout).unwrap();
    Some(root.join(path.trim()))
}

/// The body of the test that is a warehouse when it is asked to be.
pub fn serve_when_asked() {
    let Some(data_dir) = std::env::var_os(DATA).map(PathBuf::from) else { return };
    let address_file = data_dir.join("address");
    // The port is chosen by the system and must be known outside before the server gives it.
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut limits = Limits { drain: Duration::from_secs(10), ..Limits::default() };
    if std::env::var_os(SMALL).is_some() {
        limits = Limits { readers: 1, queued: 1, queue_wait: Duration::from_millis(300), ..limits };
    }
    let config = WarehouseConfig {
        library: std::env::var_os(LIBRARY).map(PathBuf::from).unwrap(),
        data_dir,
        listen,
        host_names: vec!["warehouse.internal".to_owned()],
        read_token: READ.to_owned(),
        write_token: WRITE.to_owned(),
        tokens_chosen: false,
        exit_with_stdin: true,
        limits,
        readiness: service::Readiness::new(),
    };
    let readiness = config.readiness.clone();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.unwrap().block_on(async move {
        let shutdown = Shutdown::new();
        shutdown.on_signals().unwrap();
        tokio::spawn(async move {
            let engine = "warehouse: engine";
            tokio::time::sleep(Duration::from_millis(20)).await;
            while readiness.waiting_for().contains(&engine) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let partial = address_file.with_extension("partial");
            std::fs::write(&partial, listen.to_string()).unwrap();
            std::fs::rename(partial, address_file).unwrap();
        });
        warehouse::run(config, shutdown).await
    });
    // The test harness's own code for success is 0 too, but it prints and may not end.
    std::process::exit(match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            i32::from(error.exit_code())
        }
    });
}

pub struct Warehouse {
    child: Child,
    stdin: Option<ChildStdin>,
    pub address: SocketAddr,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// ClickHouse's error code; 0 when there is none.
    pub fn code(&self) -> u32 {
        self.header("x-clickhouse-exception-code").map_or(0, |code| code.parse().unwrap())
    }
}

impl Warehouse {
    pub fn start(library: &Path, data_dir: &Path) -> Self {
        Self::start_with(library, data_dir, &[])
    }

    /// One reader thread and one place in the queue.
    pub fn start_small(library: &Path, data_dir: &Path) -> Self {
        Self::start_with(library, data_dir, &[(SMALL, "1")])
    }

    fn start_with(library: &Path, data_dir: &Path, extra: &[(&str, &str)]) -> Self {
        let address_file = data_dir.join("address");
        let _ = std::fs::remove_file(&address_file);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "be_a_warehouse", "--nocapture", "--test-threads=1"])
            .env(DATA, data_dir)
            .env(LIBRARY, library)
            .envs(extra.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address = loop {
            if let Ok(text) = std::fs::read_to_string(&address_file) {
                break text.parse().unwrap();
            }
            assert!(child.try_wait().unwrap().is_none(), "the warehouse did not start");
            std::thread::sleep(Duration::from_millis(20));
        };
        let stdin = child.stdin.take();
        Self { child, stdin, address }
    }

    /// A request with curl; `url` begins after the port.
    pub fn curl(&self, url: &str, arguments: &[&str], body: Option<&[u8]>) -> Answer {
        curl(self.address, url, arguments, body)
    }

    /// A statement in a POST's body, with a token.
    pub fn post(&self, token: &str, url: &str, statement: &str) -> Answer {
        let key = format!("X-ClickHouse-Key: {token}");
        self.curl(url, &["-H", &key], Some(statement.as_bytes()))
    }

    /// A statement that must succeed; its answer without the last line end.
    pub fn run(&self, statement: &str) -> String {
        let answer = self.post(WRITE, "/", statement);
        assert_eq!(answer.status, 200, "{statement}: {}", answer.text());
        answer.text().trim_end().to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn close_stdin(mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.child.wait().unwrap()
    }

    pub fn wait(mut self) -> ExitStatus {
        // Keeps the parent's end open: only the signal may end it.
        let _stdin = self.stdin.take();
        self.child.wait().unwrap()
    }
}

impl Drop for Warehouse {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn curl(address: SocketAddr, url: &str, arguments: &[&str], body: Option<&[u8]>) -> Answer {
    let answer = try_curl(address, url, arguments, body);
    answer.unwrap_or_else(|| panic!("no answer to {url}"))
}

/// `None`: no answer, as from a server that is gone.
pub fn try_curl(
    address: SocketAddr,
    url: &str,
    arguments: &[&str],
    body: Option<&[u8]>,
) -> Option<Answer> {
    use std::io::Write;
    let mut command = Command::new("curl");
    command.args(["--silent", "--include", "--http1.1", "--header", "Expect:"]);
    if body.is_some() {
        command.args(["--data-binary", "@-", "--header", "Content-Type: text/plain"]);
    }
    command.args(arguments).arg(format!("http://{address}{url}"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl is installed");
    let mut stdin = child.stdin.take().unwrap();
    let writer = body.map(<[u8]>::to_vec).map(|body| {
        std::thread::spawn(move || {
            let _ = stdin.write_all(&body);
        })
    });
    let output = child.wait_with_output().unwrap();
    if let Some(writer) = writer {
        writer.join().unwrap();
    }
    let end = output.stdout.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end?;
    let head = String::from_utf8_lossy(&output.stdout[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer { status, head, body: output.stdout[end + 4..].to_vec() })
}
