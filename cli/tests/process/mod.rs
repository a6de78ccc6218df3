//! The binary under test: started, asked, stopped, and in the end killed whatever happens.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

const START_TIMEOUT: Duration = Duration::from_secs(120);

fn shoal() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.env_remove("SHOAL_LOG").args(["--log", "warn"]);
    command
}

/// Writes a cluster key with mode 0600: the binary refuses any wider mode.
pub(crate) fn write_key(path: &Path, byte: &str) {
    std::fs::write(path, byte.repeat(32)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Runs a command that must succeed; what it printed.
pub(crate) fn run(arguments: &[&str]) -> String {
    let output = shoal().args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must be refused; what it said.
pub(crate) fn refused(arguments: &[&str]) -> String {
    let output = shoal().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// A running `shoal serve`.
pub(crate) struct Cluster {
    child: Child,
    /// What it has said on standard error, and who writes that down.
    errors: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
    pub(crate) nfs: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) control: SocketAddr,
}

impl Cluster {
    /// Starts one on free ports and waits until it says that it is up.
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (metrics, control) = (free(), free());
        let mut command = Command::new("env");
        // A write beyond a limit is an error then, and does not end the process.
        command.args(["--ignore-signal=XFSZ", env!("CARGO_BIN_EXE_shoal"), "--log", "warn"]);
        command.env_remove("SHOAL_LOG").stderr(Stdio::piped());
        command.arg("serve").arg("--dir").arg(dir).args([
            "--port",
            "0",
            "--ds-port",
            "0",
            "--control-port",
            &control.port().to_string(),
        ]);
        command.args(["--capacity", "256M", "--metrics-port", &metrics.port().to_string()]).args(more);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = Arc::<Mutex<String>>::default();
        let said = Arc::clone(&errors);
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("{line}");
                *said.lock().unwrap() += &format!("{line}\n");
            }
        });
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let listener = Some(listener);
        let mut cluster = Self { child, errors, listener, nfs: metrics, metrics, control };
        let mut mount = None;
        loop {
            let line = lines.recv_timeout(START_TIMEOUT).expect("it starts");
            mount = mount.or_else(|| port_of(&line));
            if line.contains("Stop:") {
                break;
            }
        }
        cluster.nfs.set_port(mount.expect("a mount line comes before"));
        cluster
    }

    /// Asks it to stop; its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    /// No write of its to any file succeeds from now on.
    pub(crate) fn fail_writes(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("prlimit").args(["--pid", &pid, "--fsize=0"]).status().unwrap().success());
    }

    /// Waits until it has ended by itself; its exit code, and what it said on standard error.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        self.listener.take().unwrap().join().unwrap();
        (code, self.errors.lock().unwrap().clone())
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The port in a line such as `mount -t nfs4 -o vers=4.2,port=12345 127.0.0.1:/ /mnt`.
fn port_of(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once(",port=")?;
    rest.split(' ').next()?.parse().ok()
}

/// Addresses on loopback that nothing listens at.
pub(crate) fn free<const N: usize>() -> [SocketAddr; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

/// A running `shoal mds` or `shoal ds`.
pub(crate) struct Server(Child);

impl Server {
    /// Starts one and does not wait for it.
    pub(crate) fn spawn(arguments: &[String]) -> Self {
        Self(shoal().args(arguments).stdout(Stdio::null()).spawn().unwrap())
    }

    /// The same, and what it says on standard error goes to a file, which is emptied.
    pub(crate) fn spawn_logged(arguments: &[String], log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        Self(shoal().args(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a command comes to: exit code, standard output, standard error.
pub(crate) fn outcome(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = shoal().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What a command comes to whose reader has gone before it prints: exit code and standard error.
pub(crate) fn unread(arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = shoal().args(arguments).stdout(writer).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    const PAUSE: Duration = Duration::from_millis(100);
    // Nothing is ever sent: waiting for it is a pause.
    let (_sender, nothing) = mpsc::channel::<()>();
    for _ in 0..START_TIMEOUT.as_millis() / PAUSE.as_millis() {
        if let Some(answer) = ask() {
            return answer;
        }
        let _ = nothing.recv_timeout(PAUSE);
    }
    panic!("{what}: not in time")
}
