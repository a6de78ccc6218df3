//! What can be seen of servers from outside: the time, their counters, their files.

use env::Clock;

use super::Cluster;

impl Cluster {
    pub(crate) fn now_unix_ns(&self) -> u64 {
        self.clock.wall_ns()
    }

    pub(crate) fn journal_bytes(&self, server: u32) -> u64 {
        self.nodes[server as usize - 1].server.as_ref().unwrap().usage().live_bytes
    }

    /// A counter of a server.
    pub(crate) fn count(&self, server: u32, name: &str) -> u64 {
        let mut page = String::new();
        let registry = &self.nodes[server as usize - 1].registry;
        prometheus_client::encoding::text::encode(&mut page, registry).unwrap();
        let lines = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("_total "));
        lines.map(|value| value.parse::<u64>().unwrap()).sum()
    }

    /// Files of images on a server's disk.
    pub(crate) async fn files(&self, server: u32) -> Vec<String> {
        let disk = &self.nodes[server as usize - 1].disk;
        let names = env::Disk::list(disk, "/ds/images".as_ref()).await.unwrap();
        names.into_iter().filter(|name| name.ends_with(".img")).collect()
    }
}
