//! A cluster of real processes on free ports of the loopback network, in a folder of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::failed::{During, Outcome, failed};
use crate::limits::{ADMIN_S_MAX, START_MS_MAX};
use crate::process::{Process, command};

/// Which processes a cluster is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One `shoal serve` with three data servers.
    Serve,
    /// One metadata server and three data servers, each a process.
    Apart,
}

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) shape: Shape,
    /// The `[[export]]` tables; without any, all is exported to 127.0.0.1 alone.
    pub(crate) exports: &'static str,
    /// Bytes of a file system of its own under the metadata server; 0: none.
    pub(crate) metadata_disk_bytes: u64,
    /// The same under each data server, as an image in a file.
    pub(crate) data_disk_bytes: u64,
    /// The attack is nothing without the rights of root: it is left out where the player has none.
    pub(crate) needs_root: bool,
}

/// One export, for 127.0.0.1 alone: every other address of the loopback network is a stranger.
pub(crate) const ONE_HOST: &str = "[[export]]\npath = \"/\"\nclients = [\"127.0.0.1/32\"]\n";

/// Data servers of a cluster.
const DATA_SERVERS: usize = 3;

/// A running cluster. Its processes end when it is dropped.
pub(crate) struct Cluster {
    pub(crate) program: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) nfs: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) metrics: SocketAddr,
    /// NFS and control ports of the data servers that are processes.
    pub(crate) data_servers: Vec<(SocketAddr, SocketAddr)>,
    /// The metadata server, or all in one, is the first.
    pub(crate) processes: Mutex<Vec<Process>>,
    mounted: Vec<PathBuf>,
}

impl Cluster {
    /// Starts one in `directory` and waits until it serves. Its exports take requests from ports
    /// below 1024 alone if clients are `reserved`.
    pub(crate) async fn start(
        program: &Path,
        directory: &Path,
        setting: &Setting,
        reserved: bool,
    ) -> Outcome<Arc<Self>> {
        let [nfs, control, metrics] = free_ports();
        let mut cluster = Self {
            program: program.to_owned(),
            directory: directory.to_owned(),
            nfs,
            control,
            metrics,
            data_servers: Vec::new(),
            processes: Mutex::default(),
            mounted: Vec::new(),
        };
        let exports = if setting.exports.is_empty() { ONE_HOST } else { setting.exports };
        std::fs::write(cluster.config(), config_text(exports, reserved))?;
        match setting.shape {
            Shape::Serve => cluster.start_serve()?,
            Shape::Apart => cluster.start_apart(setting).await?,
        }
        let cluster = Arc::new(cluster);
        cluster.wait_until_up().await?;
        Ok(cluster)
    }

    fn config(&self) -> PathBuf {
        self.directory.join("shoal.toml")
    }

    /// Where the metadata server, or all in one, keeps everything.
    pub(crate) fn metadata_directory(&self) -> PathBuf {
        self.directory.join("first")
    }

    /// Where a data server that is a process keeps its data, from 0.
    pub(crate) fn data_directory(&self, number: usize) -> PathBuf {
        self.directory.join(format!("ds-{number}"))
    }

    /// The file with the cluster key.
    pub(crate) fn key_file(&self) -> PathBuf {
        match self.data_servers.is_empty() {
            true => self.metadata_directory().join("cluster.key"),
            false => self.directory.join("cluster.key"),
        }
    }

    fn start_serve(&mut self) -> Outcome<()> {
        let mut arguments = self.begin("serve", &self.metadata_directory());
        for (flag, value) in [
            ("--port", self.nfs.port().to_string()),
            ("--control-port", self.control.port().to_string()),
            ("--metrics-port", self.metrics.port().to_string()),
            ("--ds", DATA_SERVERS.to_string()),
            ("--ds-port", "0".to_owned()),
            ("--capacity", "1G".to_owned()),
            ("--config", text(&self.config())),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        self.run("serve", arguments)
    }

    async fn start_apart(&mut self, setting: &Setting) -> Outcome<()> {
        if 0 < setting.metadata_disk_bytes {
            let size = format!("size={},mode=700", setting.metadata_disk_bytes);
            self.mount(self.metadata_directory(), &["-t", "tmpfs", "-o", &size, "shoal-hostile"])?;
        }
        let key = text(&self.directory.join("cluster.key"));
        let mut arguments = self.begin("mds", &self.metadata_directory());
        for (flag, value) in [
            ("--listen", self.nfs.to_string()),
            ("--control", self.control.to_string()),
            ("--metrics", self.metrics.to_string()),
            ("--cluster-key", key.clone()),
            ("--config", text(&self.config())),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        self.run("mds", arguments)?;
        // The first to start makes the key.
        let until = Instant::now() + Duration::from_millis(START_MS_MAX);
        while std::fs::metadata(&key).map_or(0, |file| file.len()) < 64 {
            if until < Instant::now() {
                return Err(failed("the metadata server makes no key"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        for number in 0..DATA_SERVERS {
            if 0 < setting.data_disk_bytes {
                let image = self.directory.join(format!("ds-{number}.img"));
                std::fs::File::create(&image)?.set_len(setting.data_disk_bytes)?;
                command("mkfs.ext4", &["-q", "-F", "-m", "0", &text(&image)])?;
                self.mount(self.data_directory(number), &["-o", "loop", &text(&image)])?;
            }
            let [listen, control] = free_ports();
            self.data_servers.push((listen, control));
            let mut arguments = self.begin("ds", &self.data_directory(number));
            for (flag, value) in [
                ("--listen", listen.to_string()),
                ("--control", control.to_string()),
                ("--mds", self.control.to_string()),
                ("--cluster-key", key.clone()),
                ("--capacity", "1G".to_owned()),
                ("--name", format!("ds-{number}")),
                ("--host", format!("host-{number}")),
            ] {
                arguments.extend([flag.to_owned(), value]);
            }
            self.run(&format!("ds-{number}"), arguments)?;
        }
        Ok(())
    }

    /// Mounts what `mount` takes these words for at a new directory.
    fn mount(&mut self, place: PathBuf, words: &[&str]) -> Outcome<()> {
        std::fs::create_dir(&place)?;
        command("mount", &[words, &[text(&place).as_str()]].concat())?;
        self.mounted.push(place);
        Ok(())
    }

    fn begin(&self, verb: &str, directory: &Path) -> Vec<String> {
        ["--log", "info", verb, "--dir", &text(directory)].map(str::to_owned).to_vec()
    }

    fn run(&self, name: &str, arguments: Vec<String>) -> Outcome<()> {
        let log = self.directory.join(format!("{name}.log"));
        let process = Process::start(&self.program, name, arguments, log)?;
        self.processes.lock().push(process);
        Ok(())
    }

    /// Waits until all data servers are up and everything is kept as promised.
    pub(crate) async fn wait_until_up(&self) -> Outcome<()> {
        let until = Instant::now() + Duration::from_millis(START_MS_MAX);
        loop {
            for process in self.processes.lock().iter_mut() {
                if let Some(status) = process.ended() {
                    let said = process.said();
                    let last: Vec<&str> = said.lines().rev().take(3).collect();
                    return Err(failed(format!("{} ended: {status}: {}", process.name, last.join(" / "))));
                }
            }
            match self.report("status") {
                Ok(status) if status["data_servers_up"] == DATA_SERVERS && status["counted"] == true => {
                    return Ok(());
                }
                Ok(status) if until < Instant::now() => {
                    return Err(failed(format!("it does not come up: {status}")));
                }
                Err(error) if until < Instant::now() => return Err(error),
                _ => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// What `shoal admin WHAT --json` prints.
    pub(crate) fn report(&self, what: &str) -> Outcome<Value> {
        let words: Vec<&str> = what.split(' ').collect();
        let (_, text, errors) = self.admin(&words)?;
        serde_json::from_str(&text).during(&format!("admin {what}: {errors}"))
    }

    /// Exit code, standard output and standard error of `shoal admin` with these words.
    pub(crate) fn admin(&self, words: &[&str]) -> Outcome<(Option<i32>, String, String)> {
        let done = std::process::Command::new("timeout")
            .arg(ADMIN_S_MAX.to_string())
            .arg(&self.program)
            .args(["admin", "--json", "--at", &self.metrics.to_string()])
            .args(["--control", &self.control.to_string(), "--cluster-key", &text(&self.key_file())])
            .args(words)
            .env_remove("SHOAL_LOG")
            .output()
            .during("shoal admin")?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok((done.status.code(), text(&done.stdout), text(&done.stderr)))
    }

    /// What is wrong with the cluster, by its own words; nothing if it is healthy.
    pub(crate) fn problems(&self) -> Vec<String> {
        match self.report("health") {
            Err(error) => vec![error.to_string()],
            Ok(health) if health["ok"] == true => Vec::new(),
            Ok(health) => health["problems"]
                .as_array()
                .map(|all| all.iter().map(|one| one["text"].as_str().unwrap_or("?").to_owned()).collect())
                .unwrap_or_else(|| vec!["health says nothing".to_owned()]),
        }
    }

    /// Number, from 0, of the data server process that is home of the first extent of a file.
    pub(crate) fn home_of(&self, path: &str) -> Outcome<usize> {
        let found = self.report(&format!("verify {path}"))?;
        let id = found["extents"][0]["home"]["server"].as_u64();
        let id = id.ok_or_else(|| failed(format!("no home in {found}")))?;
        let list = self.report("ds list")?;
        let all = list["data_servers"].as_array().ok_or_else(|| failed("no list of data servers"))?;
        let name = all.iter().find(|one| one["id"] == id).and_then(|one| one["name"].as_str());
        name.and_then(|name| name.strip_prefix("ds-")?.parse().ok())
            .ok_or_else(|| failed(format!("no name of data server {id}")))
    }

    /// Position of a data server among the processes.
    pub(crate) fn process_of(number: usize) -> usize {
        number + 1
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.processes.lock().clear();
        for place in self.mounted.drain(..) {
            // The namespace of mounts ends with this process in any case.
            let _ = command("umount", &["-l", &text(&place)]);
        }
    }
}

/// The configuration file, with these `[[export]]` tables.
fn config_text(exports: &str, reserved: bool) -> String {
    let table = if reserved { "[[export]]\n" } else { "[[export]]\nsecure = false\n" };
    format!("[cluster]\nseal = \"off\"\n{}", exports.replace("[[export]]\n", table))
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Addresses on 127.0.0.1 at which nothing listens.
fn free_ports<const N: usize>() -> [SocketAddr; N] {
    let held: [Option<TcpListener>; N] =
        std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok());
    held.map(|one| {
        let address = one.and_then(|one| one.local_addr().ok());
        address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    })
}

#[cfg(test)]
mod tests {
    use super::{ONE_HOST, config_text};

    #[test]
    fn each_export_takes_any_port_where_clients_have_no_other() {
        let two = format!("{ONE_HOST}{ONE_HOST}");
        assert!(!config_text(&two, true).contains("secure"));
        assert_eq!(config_text(&two, false).matches("[[export]]\nsecure = false\npath").count(), 2);
    }
}
