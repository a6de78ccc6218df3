//! The group `basic`: what an NFS client may expect of a file system. One file below it per
//! subject.

mod attributes;
mod data;
mod exports;
pub(super) mod failures;
mod mounting;
mod names;
mod sharing;

use super::scenario::Needs::{DataServers, Mount, NoMount};
use super::scenario::{Needs, Scenario};
use super::stage::Stage;

const fn row(
    name: &'static str,
    needs: Needs,
    play: fn(&mut Stage) -> anyhow::Result<()>,
    proves: &'static str,
) -> Scenario {
    Scenario { group: "basic", name, proves, needs, play }
}

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("mount-4.1", NoMount, mounting::minor_1, "version 4.1 mounts, stores, and uses layouts"),
    row("mount-4.2", NoMount, mounting::minor_2, "version 4.2 mounts, stores, and uses layouts"),
    row(
        "two-mounts",
        NoMount,
        mounting::again,
        "unmounting and mounting again many times leaves nothing behind",
    ),
    // Before anything that servers go on removing and sealing behind it: it looks at the space of
    // the whole cluster.
    row("df", Mount, attributes::df, "the size is there, free space shrinks with data and comes back"),
    row(
        "large-file",
        Mount,
        data::large_file,
        "1 GiB comes back byte for byte; the metadata server carried < 1 %",
    ),
    row(
        "small-files",
        Mount,
        data::small_files,
        "10,000 small files come back, after dropped caches and from afar",
    ),
    row("sparse", Mount, data::sparse, "holes read as zeros and the far end is where it was put"),
    row("truncate", Mount, data::truncate, "cut data does not come back when the file grows again"),
    row("direct", Mount, data::direct, "O_DIRECT writes and reads, seen through the page cache as well"),
    row("mapping", Mount, data::mapping, "stores through a shared mapping reach the file"),
    row(
        "in-between",
        Mount,
        data::in_between,
        "small writes anywhere in a file of several extents, read back whole",
    ),
    row("rename", Mount, names::rename, "rename moves, replaces, and refuses what POSIX says"),
    row(
        "link-symlink",
        Mount,
        names::links,
        "hard links share an inode and a count; symbolic links read and follow",
    ),
    row(
        "unlink-open",
        Mount,
        names::unlink_open,
        "a removed file stays readable for who has it open, and goes then",
    ),
    row("names", Mount, names::odd_names, "255 bytes, non-ASCII, control characters; 256 bytes are refused"),
    row(
        "readdir",
        Mount,
        names::readdir,
        "a directory lists each lasting name exactly once while others come and go",
    ),
    row("permissions", Mount, attributes::permissions, "another user is denied what the modes deny"),
    row("times", Mount, attributes::times, "times move when they must and can be set"),
    row("append-two", Mount, sharing::append, "O_APPEND by two guests in turns keeps every record, in order"),
    row("locks", Mount, sharing::locks, "fcntl locks exclude, by range, and a waiter gets its turn"),
    row(
        "layouts-kept",
        Mount,
        sharing::layouts_kept,
        "a client that holds very many layouts is asked for some back, and goes on",
    ),
    row("close-to-open", Mount, sharing::close_to_open, "what one guest closed the other sees when it opens"),
    row(
        "overwrite-read",
        Mount,
        sharing::overwrite,
        "reading under another's overwriting sees only written blocks",
    ),
    row(
        "kill-in-write",
        Mount,
        failures::kill,
        "killed in the middle of writes and started again: nothing fsynced is lost",
    ),
    row(
        "server-stopped",
        DataServers,
        failures::data_server_stopped,
        "one data server's process killed: no read or write waits for more than a minute",
    ),
    row(
        "exports-read-only",
        DataServers,
        exports::read_only,
        "an export made read-only: a writer with a layout is refused, nothing of it arrives later",
    ),
    row(
        "exports-network-removed",
        DataServers,
        exports::network_removed,
        "a client's network taken out of an export: the same, and another client goes on",
    ),
    row("full", NoMount, failures::full, "a full server says ENOSPC, and deleting gives the space back"),
];
