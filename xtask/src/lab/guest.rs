//! A guest: one user-mode Linux process with its own kernel, booted from this machine's root,
//! read-only.
//!
//! Commands go through the agent (`agent`). The process sits in a process namespace of its own, so
//! that killing it kills all of it: the kernel's helper processes too.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::agent::{self, Ask, Reply};
use super::kernels::Kernel;
use super::network;
use crate::process;

const AGENT_PORT: u16 = 7700;
const BOOT_SECONDS_MAX: u64 = 40;

/// What a guest is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Its host name, and what its files are called.
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) memory_mib: u32,
    /// A file that is its disk `/dev/ubda`.
    pub(crate) disk: Option<PathBuf>,
}

/// A running guest. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) plan: Plan,
    pub(crate) kernel: Kernel,
    /// The run's folder, seen in the guest as `/mnt/lab`.
    folder: PathBuf,
    child: Child,
    alive: bool,
}

impl Guest {
    /// Boots a guest and waits until its agent answers.
    ///
    /// # Errors
    /// When it does not come up; the error holds the end of its console.
    pub(crate) fn boot(folder: &Path, kernel: &Kernel, plan: Plan) -> Result<Self> {
        let tap = format!("tap-{}", plan.name);
        network::add_tap(&tap)?;
        let init = folder.join("guest-init.sh");
        if !init.exists() {
            std::fs::write(&init, include_str!("../../../conformance/lab/guest-init.sh"))?;
            process::output(Command::new("chmod").arg("755").arg(&init))?;
        }
        let child =
            process::start_logged(&mut command_line(folder, kernel, &plan, &tap)?, &console(folder, &plan))?;
        let mut guest = Self { plan, kernel: kernel.clone(), folder: folder.to_owned(), child, alive: true };
        guest.wait_for_agent()?;
        Ok(guest)
    }

    fn wait_for_agent(&mut self) -> Result<()> {
        let target = format!("{}:{AGENT_PORT}", self.plan.address).parse()?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(BOOT_SECONDS_MAX) {
            if TcpStream::connect_timeout(&target, Duration::from_millis(100)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("guest {} ended while booting: {status}\n{}", self.plan.name, self.console_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("guest {} did not come up in {BOOT_SECONDS_MAX} s\n{}", self.plan.name, self.console_tail())
    }

    /// Runs a shell script as root within two minutes; fails unless it exits with 0; returns its
    /// standard output.
    ///
    /// # Errors
    /// When it fails or does not end: the error holds the script and what it wrote.
    pub(crate) fn run(&self, script: &str) -> Result<String> {
        self.run_within(script, 120)
    }

    /// [`Self::run`] with its own time limit.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn run_within(&self, script: &str, timeout_s: u64) -> Result<String> {
        let reply = self.ask(&Ask { script: script.to_owned(), uid: None, timeout_s })?;
        self.expect_zero(script, timeout_s, reply)
    }

    /// Runs a shell script as another user.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn run_as(&self, uid: u32, script: &str) -> Result<String> {
        let reply = self.ask(&Ask { script: script.to_owned(), uid: Some(uid), timeout_s: 120 })?;
        self.expect_zero(script, 120, reply)
    }

    /// Runs a shell script that must fail with `words` in its standard error.
    ///
    /// # Errors
    /// When it succeeds, does not end, or says something else.
    pub(crate) fn refused(&self, uid: Option<u32>, script: &str, words: &str) -> Result<()> {
        let reply = self.ask(&Ask { script: script.to_owned(), uid, timeout_s: 120 })?;
        match reply.code {
            Some(code) if code != 0 && reply.stderr.contains(words) => Ok(()),
            _ => bail!("on {}: {script:?} was to be refused with {words:?}, but: {reply:?}", self.plan.name),
        }
    }

    /// Runs something and returns all that came of it.
    ///
    /// # Errors
    /// When the guest itself does not answer.
    pub(crate) fn ask(&self, ask: &Ask) -> Result<Reply> {
        agent::send_ask(&format!("{}:{AGENT_PORT}", self.plan.address), ask)
            .with_context(|| format!("guest {}: {}", self.plan.name, self.console_tail()))
    }

    fn expect_zero(&self, script: &str, timeout_s: u64, reply: Reply) -> Result<String> {
        let Reply { code, stdout, stderr } = reply;
        match code {
            Some(0) => Ok(stdout),
            Some(code) => bail!("on {}: exit code {code} of: {script}\n{stdout}{stderr}", self.plan.name),
            None => bail!("on {}: not done after {timeout_s} s: {script}\n{stdout}{stderr}", self.plan.name),
        }
    }

    /// The end of the guest's kernel log, or of its console when it does not answer.
    pub(crate) fn dmesg_tail(&self) -> String {
        let ask = Ask { script: "dmesg | tail -25".to_owned(), uid: None, timeout_s: 20 };
        self.ask(&ask).map_or_else(|_| self.console_tail(), |reply| reply.stdout)
    }

    /// Where each task that does not run is stuck in the kernel.
    pub(crate) fn blocked_tasks(&self) -> String {
        let script = "for p in /proc/[0-9]*; do grep -q '^State:.D' $p/status && { echo \"$p $(cat $p/comm)\"; cat $p/stack; }; done";
        let ask = Ask { script: script.to_owned(), uid: None, timeout_s: 10 };
        self.ask(&ask).map_or_else(|error| error.to_string(), |reply| reply.stdout)
    }

    /// The end of what the guest wrote on its console.
    pub(crate) fn console_tail(&self) -> String {
        process::tail(&console(&self.folder, &self.plan), 25)
    }

    /// The command line of this program in the guest, for its `guest-op` acts.
    pub(crate) fn op(&self, arguments: &str) -> Result<String> {
        let own = std::env::current_exe()?;
        let name = own.file_name().context("a program without a name")?.to_string_lossy().into_owned();
        Ok(format!("/mnt/agent/{name} guest-op {arguments}"))
    }

    /// The host's process id of the guest's outermost process: it and its descendants are the
    /// guest.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the guest as a power cut would (its disk keeps what the host's page cache has).
    pub(crate) fn kill(&mut self) {
        if !std::mem::take(&mut self.alive) {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        network::drop_tap(&format!("tap-{}", self.plan.name));
    }

    /// Kills the guest and boots it again with the same plan.
    ///
    /// # Errors
    /// As [`Self::boot`].
    pub(crate) fn reboot(&mut self) -> Result<()> {
        self.kill();
        let folder = self.folder.clone();
        *self = Self::boot(&folder, &self.kernel.clone(), self.plan.clone())?;
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

fn console(folder: &Path, plan: &Plan) -> PathBuf {
    folder.join(format!("console-{}.log", plan.name))
}

fn command_line(folder: &Path, kernel: &Kernel, plan: &Plan, tap: &str) -> Result<Command> {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child=SIGKILL", "--"]).arg(&kernel.program);
    command.arg(format!("mem={}M", plan.memory_mib));
    command.args(["rootfstype=hostfs", "rootflags=/", "ro", "quiet", "con=null", "con0=null,fd:1"]);
    command.arg(format!("init={}", folder.join("guest-init.sh").display()));
    // The same hardware address after a reboot: neighbours need not find out first.
    let last: u8 = plan.address.rsplit('.').next().context("an empty address")?.parse()?;
    command.arg(format!("vec0:transport=tap,ifname={tap},depth=64,gro=1,mac=02:53:48:4f:41:{last:02x}"));
    if let Some(disk) = &plan.disk {
        command.arg(format!("ubd0={}", disk.display()));
    }
    command.arg(format!("NAME={}", plan.name)).arg(format!("IP={}/24", plan.address));
    command.arg(format!("AGENT={}", std::env::current_exe()?.display()));
    command.arg(format!("LAB={}", folder.display()));
    command.arg(format!("MODULES={}", kernel.modules.display()));
    Ok(command)
}
