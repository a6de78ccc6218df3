//! `cargo xtask up`: a whole cluster on this machine, and the lines that mount it.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{lab, process};

/// Where and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Where everything is stored; it is there again the next time.
    #[arg(long, default_value = "shoal-data")]
    dir: PathBuf,
    /// The address clients use; without it, the one this machine reaches others from.
    #[arg(long)]
    ip: Option<IpAddr>,
    /// Port of the metadata server.
    #[arg(long, default_value_t = 2049)]
    port: u16,
    /// How many data servers.
    #[arg(long, default_value_t = 3)]
    ds: u16,
    /// Port of the first data server; the others follow.
    #[arg(long, default_value_t = 3049)]
    ds_port: u16,
    /// Port of the counters.
    #[arg(long, default_value_t = 9049)]
    metrics_port: u16,
    /// End after so many seconds; without it, with Ctrl-C.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Passed on to `shoal serve`.
    #[arg(last = true)]
    more: Vec<String>,
}

impl Up {
    /// Builds, starts, prints, waits.
    ///
    /// # Errors
    /// When it does not build, or the cluster ends by itself.
    pub(crate) fn run(&self) -> Result<()> {
        println!("building the program (release); the first time takes some minutes");
        lab::build_shoal()?;
        let ip = self.ip.unwrap_or_else(own_address);
        let program = lab::shoal_program();
        let mut child = self.start(&program, ip)?;
        self.wait_until_up(&mut child, ip)?;
        self.say(&program, ip);
        self.watch(&mut child)
    }

    fn start(&self, program: &std::path::Path, ip: IpAddr) -> Result<Child> {
        let mut command = Command::new(program);
        command.arg("serve").arg("--dir").arg(&self.dir).arg("--ip").arg(ip.to_string());
        let numbers = [
            ("--port", self.port),
            ("--ds", self.ds),
            ("--ds-port", self.ds_port),
            ("--metrics-port", self.metrics_port),
        ];
        for (flag, number) in numbers {
            command.arg(flag).arg(number.to_string());
        }
        command.args(&self.more).spawn().with_context(|| format!("cannot start {}", program.display()))
    }

    fn wait_until_up(&self, child: &mut Child, ip: IpAddr) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(60) {
            if std::net::TcpStream::connect_timeout(&(ip, self.port).into(), Duration::from_millis(200))
                .is_ok()
            {
                return Ok(());
            }
            if let Some(status) = child.try_wait()? {
                bail!("the cluster ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        bail!("nothing listens at {ip}:{} after 60 s", self.port)
    }

    fn say(&self, program: &std::path::Path, ip: IpAddr) {
        println!("\nThe cluster runs: metadata at {ip} port {}, {} data servers.", self.port, self.ds);
        println!(
            "Data is in {}; counters at http://{ip}:{}/metrics\n",
            self.dir.display(),
            self.metrics_port
        );
        let port = if self.port == 2049 { String::new() } else { format!(",port={}", self.port) };
        println!("On a Linux machine that reaches {ip}, as root (Debian package nfs-common):\n");
        println!("    modprobe nfs_layout_flexfiles");
        println!("    mkdir -p /mnt/shoal");
        println!("    mount -t nfs4 -o vers=4.2{port} {ip}:/ /mnt/shoal\n");
        match lacks_nfs_client() {
            None => println!("This machine can do that itself."),
            Some(what) => println!(
                "This machine cannot: {what}.\n`cargo xtask lab` mounts it in guests with kernels that can."
            ),
        }
        println!("What runs: {} admin status; Ctrl-C ends it.\n", program.display());
    }

    fn watch(&self, child: &mut Child) -> Result<()> {
        let Some(seconds) = self.seconds else {
            let status = child.wait()?;
            println!("the cluster ended: {status}");
            return Ok(());
        };
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(seconds) {
            if let Some(status) = child.try_wait()? {
                bail!("the cluster ended by itself: {status}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        end(child)?;
        println!("{seconds} s are over: the cluster has ended");
        Ok(())
    }
}

/// Asks a process to end, waits ten seconds, then makes it.
fn end(child: &mut Child) -> Result<()> {
    process::words(&format!("kill -TERM {}", child.id()))?;
    for _ in 0..100 {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill()?;
    child.wait()?;
    bail!("it did not end within 10 s of SIGTERM and was killed")
}

/// The address this machine would send from; nothing is sent.
fn own_address() -> IpAddr {
    let elsewhere = (Ipv4Addr::new(192, 0, 2, 1), 9);
    let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(elsewhere)?;
        Ok(socket.local_addr()?.ip())
    });
    own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn lacks_nfs_client() -> Option<&'static str> {
    let built_in = std::fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("nfs4"));
    let loadable = || process::words("modprobe -n nfs_layout_flexfiles").is_ok();
    if !built_in && !loadable() {
        return Some("its kernel has no NFS client");
    }
    process::find_program("mount.nfs4").is_none().then_some("the package nfs-common is missing")
}
