//! The line into a guest: a small server in the guest runs shell commands one after another or side
//! by side.
//!
//! One TCP connection a command: a length in four bytes (big-endian) and JSON, each way. The same
//! program is on both ends, so the format has no version.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

const MESSAGE_BYTES_MAX: usize = 8 << 20;
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// What the host asks for.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ask {
    pub(crate) script: String,
    /// The user (and group) to run as; root without it.
    pub(crate) uid: Option<u32>,
    pub(crate) timeout_s: u64,
}

/// What became of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Reply {
    /// The exit code, 128 + the signal, or nothing when the command was still there after its time.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Serves commands for ever, in the guest.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) fn serve(listen: &str) -> Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = answer(stream) {
                eprintln!("agent: {error:#}");
            }
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> Result<()> {
    // The host looks whether we are there by connecting and saying nothing.
    let Ok(ask) = receive::<Ask>(&mut stream) else { return Ok(()) };
    let reply = execute(&ask).unwrap_or_else(|error| Reply {
        code: Some(127),
        stdout: String::new(),
        stderr: format!("{error:#}"),
    });
    send(&mut stream, &reply)
}

fn execute(ask: &Ask) -> Result<Reply> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(&ask.script).current_dir("/tmp").process_group(0);
    if let Some(uid) = ask.uid {
        command.uid(uid).gid(uid);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = collect(child.stdout.take().context("no standard output")?);
    let stderr = collect(child.stderr.take().context("no standard error")?);
    let status = wait(&mut child, Duration::from_secs(ask.timeout_s))?;
    // A command that left something in the background keeps the pipes open: what has come by now is
    // what counts.
    let rest = Duration::from_millis(if status.is_some() { 300 } else { 50 });
    Ok(Reply { code: status.map(code), stdout: gather(&stdout, rest), stderr: gather(&stderr, rest) })
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Waits for a child; kills its group after `limit`, and gives up on it when not even that ends it.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let (started, mut killed) = (Instant::now(), false);
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((!killed).then_some(status));
        }
        let spent = started.elapsed();
        if limit < spent && !killed {
            killed = true;
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status();
        }
        if limit + Duration::from_secs(3) < spent {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn collect(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = vec![0u8; 64 << 10];
        let mut room = OUTPUT_BYTES_MAX;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let kept = count.min(room);
            room -= kept;
            if sender.send(buffer[..kept].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

fn gather(from: &mpsc::Receiver<Vec<u8>>, patience: Duration) -> String {
    let mut bytes = Vec::new();
    while let Ok(part) = from.recv_timeout(patience) {
        bytes.extend(part);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks the agent at `address` to run something, from the host.
///
/// # Errors
/// When the guest does not answer within the command's time and some seconds.
pub(crate) fn send_ask(address: &str, ask: &Ask) -> Result<Reply> {
    let target = address.parse().with_context(|| format!("{address} is no address"))?;
    let mut stream =
        TcpStream::connect_timeout(&target, Duration::from_secs(5)).context("the guest is not there")?;
    stream.set_read_timeout(Some(Duration::from_secs(ask.timeout_s + 30)))?;
    send(&mut stream, ask)?;
    receive(&mut stream).with_context(|| format!("the guest does not answer to: {}", ask.script))
}

fn send(stream: &mut TcpStream, message: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len())?;
    stream.write_all(&[&length.to_be_bytes()[..], &text].concat())?;
    Ok(())
}

fn receive<T: for<'a> Deserialize<'a>>(stream: &mut TcpStream) -> Result<T> {
    let mut length = [0u8; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length))?;
    if MESSAGE_BYTES_MAX < length {
        bail!("a message of {length} bytes");
    }
    let mut text = vec![0u8; length];
    stream.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
