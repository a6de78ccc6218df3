//! READ, WRITE and COMMIT on data servers over NFSv3, as many calls at a time as are useful.
//!
//! One connection for each data server, made when first needed. JUKEBOX is waited out; everything
//! else is the caller's business.
//!
//! Spec: RFC 1813 §3.3.6, §3.3.7, §3.3.21; RFC 8435 §2.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;
use env::Env;
use env_transport::{CallError, Limits, RpcClient};
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use wire_nfs::v3::{Nfsstat3, PROGRAM, Procedure, Res, StableHow, VERSION, commit, read, write};
use wire_xdr::{Decode, Encode, Writer, XdrError};

use crate::Route;
use crate::limits::{
    CALL_MS_MAX, CONNECTIONS_MAX, JUKEBOX_PAUSE_MS, JUKEBOX_RETRIES_MAX, PARALLEL_CALLS_MAX,
    TRANSFER_BYTES_MAX,
};

/// Why I/O on a data server failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataPathError {
    /// The handle is fenced or refused: a new layout is needed.
    #[error("the data server refuses the handle")]
    Stale,
    /// The data server has no room.
    #[error("the data server is full")]
    NoSpace,
    /// It said JUKEBOX for too long.
    #[error("the data server is busy")]
    Busy,
    /// It answered with an error of its own.
    #[error("the data server answers {0:?}")]
    Status(Nfsstat3),
    /// It could not be reached, or did not answer in time.
    #[error("the data server cannot be reached: {0}")]
    Unreachable(CallError),
    /// Its answer makes no sense.
    #[error("the data server's answer makes no sense: {0}")]
    Garbage(XdrError),
    /// A durable write was answered from memory, or a COMMIT found another verifier: the bytes must
    /// be written again.
    #[error("the data server restarted while it held unstable bytes")]
    Restarted,
}

/// What a WRITE did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes taken.
    pub count: u32,
    /// How stable they are.
    pub committed: StableHow,
    /// Of the instance that has them.
    pub verifier: [u8; 8],
}

/// The data path: a pool of connections to data servers.
pub struct DataPath {
    env: Env,
    servers: Mutex<HashMap<SocketAddr, RpcClient>>,
}

impl DataPath {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(env: &Env) -> Self {
        Self { env: env.clone(), servers: Mutex::default() }
    }

    /// Reads bytes of an extent; offsets count from the start of the file. Fewer bytes come back
    /// only at the end.
    ///
    /// # Errors
    /// [`DataPathError`].
    pub async fn read(
        &self,
        route: &Route,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> Result<(Vec<Bytes>, bool), DataPathError> {
        let parts =
            transfers(offset_bytes, len_bytes).map(|(offset, len)| self.read_whole(route, offset, len));
        let parts: Vec<(Vec<Bytes>, bool)> =
            stream::iter(parts).buffered(PARALLEL_CALLS_MAX).try_collect().await?;
        let mut data = Vec::new();
        for (segments, eof) in parts {
            data.extend(segments);
            if eof {
                return Ok((data, true));
            }
        }
        Ok((data, false))
    }

    /// One transfer; a short answer that is not the end is continued.
    async fn read_whole(
        &self,
        route: &Route,
        mut offset: u64,
        mut len: u64,
    ) -> Result<(Vec<Bytes>, bool), DataPathError> {
        let mut segments = Vec::new();
        while 0 < len {
            let count = u32::try_from(len).expect("a transfer is at most 1 MiB");
            let args = read::Args { file: route.handle.clone(), offset, count };
            let read: read::ResOk = self.call::<read::Res>(route, Procedure::Read, &args).await?;
            let got = read.data.len() as u64;
            if len < got || (got == 0 && !read.eof) {
                return Err(DataPathError::Garbage(XdrError::Invalid { field: "READ3resok.count" }));
            }
            (offset, len) = (offset + got, len - got);
            segments.push(read.data);
            if read.eof {
                return Ok((segments, true));
            }
        }
        Ok((segments, false))
    }

    /// Writes bytes, as stable as asked. The result is of the last call; `committed` is the weakest
    /// of all.
    ///
    /// # Errors
    /// [`DataPathError`]; [`DataPathError::Restarted`] if the calls were answered by different
    /// instances.
    pub async fn write(
        &self,
        route: &Route,
        offset_bytes: u64,
        data: Bytes,
        stable: StableHow,
    ) -> Result<Written, DataPathError> {
        let calls = transfers(0, data.len() as u64).map(|(from, len)| {
            let range = as_usize(from)..as_usize(from + len);
            self.write_whole(route, offset_bytes + from, data.slice(range), stable)
        });
        let parts: Vec<Written> = stream::iter(calls).buffered(PARALLEL_CALLS_MAX).try_collect().await?;
        let first = *parts.first().ok_or(DataPathError::Status(Nfsstat3::Inval))?;
        if parts.iter().any(|part| part.verifier != first.verifier) {
            return Err(DataPathError::Restarted);
        }
        let committed = parts.iter().map(|part| part.committed).min().expect("there is a first");
        let count = parts.iter().map(|part| part.count).sum();
        Ok(Written { count, committed, verifier: first.verifier })
    }

    async fn write_whole(
        &self,
        route: &Route,
        mut offset: u64,
        mut data: Bytes,
        stable: StableHow,
    ) -> Result<Written, DataPathError> {
        let mut total: Option<Written> = None;
        loop {
            let args = write::Args { file: route.handle.clone(), offset, stable, data: data.clone() };
            let written: write::ResOk = self.call::<write::Res>(route, Procedure::Write, &args).await?;
            let count = as_usize(u64::from(written.count));
            if written.committed < stable || data.len() < count || count == 0 {
                return Err(DataPathError::Garbage(XdrError::Invalid { field: "WRITE3resok" }));
            }
            let before = total.map_or(0, |t| t.count);
            if total.is_some_and(|t| t.verifier != written.verf) {
                return Err(DataPathError::Restarted);
            }
            let now = Written {
                count: before + written.count,
                committed: written.committed,
                verifier: written.verf,
            };
            total = Some(now);
            offset += u64::from(written.count);
            data = data.slice(count..);
            if data.is_empty() {
                return Ok(now);
            }
        }
    }

    /// Writes bytes; they are on stable storage when this returns.
    ///
    /// # Errors
    /// [`DataPathError`].
    pub async fn write_durable(
        &self,
        route: &Route,
        offset_bytes: u64,
        data: Bytes,
    ) -> Result<(), DataPathError> {
        if data.is_empty() {
            return Ok(());
        }
        let written = self.write(route, offset_bytes, data, StableHow::FileSync).await?;
        if written.committed == StableHow::FileSync { Ok(()) } else { Err(DataPathError::Restarted) }
    }

    /// Makes everything written before durable; answers the verifier to compare with the writes'.
    ///
    /// # Errors
    /// [`DataPathError`].
    pub async fn commit(&self, route: &Route) -> Result<[u8; 8], DataPathError> {
        let args = commit::Args { file: route.handle.clone(), offset: 0, count: 0 };
        let committed: commit::ResOk = self.call::<commit::Res>(route, Procedure::Commit, &args).await?;
        Ok(committed.verf)
    }

    async fn call<R: Outcome>(
        &self,
        route: &Route,
        procedure: Procedure,
        args: &impl Encode,
    ) -> Result<R::Good, DataPathError> {
        let client = self.server(route.address);
        for _ in 0..=JUKEBOX_RETRIES_MAX {
            let mut w = Writer::new();
            args.encode(&mut w);
            let mut reader = client
                .call(PROGRAM, VERSION, procedure.as_u32(), &route.credential, w, CALL_MS_MAX)
                .await
                .map_err(DataPathError::Unreachable)?;
            match R::decode(&mut reader).map_err(DataPathError::Garbage)?.split() {
                Ok(good) => return Ok(good),
                Err(Nfsstat3::Jukebox) => self.env.clock.sleep_ms(JUKEBOX_PAUSE_MS).await,
                Err(Nfsstat3::Stale | Nfsstat3::Acces | Nfsstat3::Badhandle) => {
                    return Err(DataPathError::Stale);
                }
                Err(Nfsstat3::Nospc) => return Err(DataPathError::NoSpace),
                Err(status) => return Err(DataPathError::Status(status)),
            }
        }
        Err(DataPathError::Busy)
    }

    fn server(&self, address: SocketAddr) -> RpcClient {
        let mut servers = self.servers.lock();
        if servers.len() == CONNECTIONS_MAX && !servers.contains_key(&address) {
            servers.clear();
        }
        let make = || {
            let (net, clock) = (self.env.net.clone(), self.env.clock.clone());
            RpcClient::new(net, clock, address, Limits::default())
        };
        servers.entry(address).or_insert_with(make).clone()
    }
}

/// A procedure's result, good or not.
trait Outcome: Decode {
    type Good;
    fn split(self) -> Result<Self::Good, Nfsstat3>;
}

impl<O, F> Outcome for Res<O, F>
where
    Self: Decode,
{
    type Good = O;

    fn split(self) -> Result<O, Nfsstat3> {
        match self {
            Self::Ok(good) => Ok(good),
            Self::Fail(status, _) => Err(status),
        }
    }
}

fn as_usize(count: u64) -> usize {
    usize::try_from(count).expect("within a buffer in memory")
}

/// Cuts a range into transfers.
fn transfers(offset_bytes: u64, len_bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    let count = len_bytes.div_ceil(TRANSFER_BYTES_MAX);
    (0..count).map(move |index| {
        let from = index * TRANSFER_BYTES_MAX;
        (offset_bytes + from, TRANSFER_BYTES_MAX.min(len_bytes - from))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_cover_the_range_once() {
        let all: Vec<_> = transfers(100, 2 * TRANSFER_BYTES_MAX + 5).collect();
        let want = [(0, TRANSFER_BYTES_MAX), (1, TRANSFER_BYTES_MAX), (2, 5)];
        assert_eq!(all, want.map(|(i, len)| (100 + i * TRANSFER_BYTES_MAX, len)));
        assert_eq!(transfers(7, 0).count(), 0);
    }
}
