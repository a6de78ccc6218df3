//! Layouts of a file, and its bytes at the data server that a layout names.
//!
//! Spec: RFC 8881 §18.40, §18.43, §18.44; RFC 8435 §5; RFC 1813 §3.3.6, §3.3.7.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use env::os::OsClock;
use env_transport::{Limits, RpcClient};
use wire_nfs::flexfiles::{DeviceAddr, FfLayout, decode_body};
use wire_nfs::v3::{self, Fh3, Nfsstat3};
use wire_nfs::v4::attr::LayoutType;
use wire_nfs::v4::layout::DeviceError;
use wire_nfs::v4::layout::{Iomode, LENGTH_TO_END};
use wire_nfs::v4::ops::layoutreturn::{self, ReturnFile, ReturnScope};
use wire_nfs::v4::ops::{getdeviceinfo, layouterror, layoutget, putfh};
use wire_nfs::v4::{Bitmap, DeviceId, Nfsstat4, Op, Stateid};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Reader, Writer};

use crate::failed::{Outcome, failed};
use crate::limits::DATA_CALL_MS_MAX;
use crate::net::Via;
use crate::session::{Client, user};
use crate::tree::{Opened, good, status_at};

/// A layout of the start of a file.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) stateid: Stateid,
    pub(crate) device: DeviceId,
    /// The data server that is the file's home.
    pub(crate) server: SocketAddr,
    /// What it is shown.
    pub(crate) handle: Fh3,
}

/// LAYOUTGET of the start of a file, and where it leads.
pub(crate) async fn take(client: &mut Client, file: &Opened, iomode: Iomode) -> Outcome<Held> {
    let args = layoutget::Args {
        signal_layout_avail: false,
        layout_type: LayoutType::FLEX_FILES,
        iomode,
        offset: 0,
        length: LENGTH_TO_END,
        min_length: 4096,
        stateid: file.stateid,
        maxcount: 4096,
    };
    let mut reply = client
        .call(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: file.handle.clone() });
            c.op(Op::Layoutget, &args);
        })
        .await?;
    reply.skip(Op::Putfh)?;
    let got: layoutget::ResOk = reply.next(Op::Layoutget)?;
    let first = got.layouts.first().ok_or_else(|| failed("LAYOUTGET: no layout"))?;
    let body: FfLayout = decode_body(&first.body)?;
    let place = body.mirrors.first().and_then(|mirror| mirror.data_servers.first());
    let place = place.ok_or_else(|| failed("LAYOUTGET: no data server"))?;
    let handle = place.filehandles.first().and_then(|handle| Fh3::new(handle.as_bytes().clone()));
    let handle = handle.ok_or_else(|| failed("LAYOUTGET: no handle"))?;
    let server = address_of(client, place.device).await?;
    Ok(Held { stateid: got.stateid, device: place.device, server, handle })
}

async fn address_of(client: &mut Client, device: DeviceId) -> Outcome<SocketAddr> {
    let args = getdeviceinfo::Args {
        device,
        layout_type: LayoutType::FLEX_FILES,
        maxcount: 4096,
        notify: Bitmap::of(&[]),
    };
    let mut reply = client.call(|c| c.op(Op::Getdeviceinfo, &args)).await?;
    let found: getdeviceinfo::ResOk = reply.next(Op::Getdeviceinfo)?;
    let body: DeviceAddr = decode_body(&found.address)?;
    let first = body.addresses.first().and_then(wire_nfs::flexfiles::NetAddr::resolve);
    first.map(|(_, address)| address).ok_or_else(|| failed("GETDEVICEINFO: no address"))
}

/// LAYOUTRETURN of all of a file.
pub(crate) async fn give_back(client: &mut Client, file: &Opened, held: &Held) -> Outcome<()> {
    let body = Bytes::from_static(&[0; 8]);
    let scope =
        ReturnScope::File(ReturnFile { offset: 0, length: LENGTH_TO_END, stateid: held.stateid, body });
    let args = layoutreturn::Args {
        reclaim: false,
        layout_type: LayoutType::FLEX_FILES,
        iomode: Iomode::Any,
        scope,
    };
    match status_at(client, &file.handle, |c| c.op(Op::Layoutreturn, &args)).await? {
        // Taken away already.
        Nfsstat4::BadStateid | Nfsstat4::OldStateid => Ok(()),
        status => good(status, "LAYOUTRETURN"),
    }
}

/// LAYOUTERROR: what a data server answered, as a stock client tells it.
pub(crate) async fn report(
    client: &mut Client,
    file: &Opened,
    (stateid, device): (Stateid, DeviceId),
    status: Nfsstat4,
) -> Outcome<Nfsstat4> {
    let error = DeviceError { device, status, op: Op::Write.as_u32() };
    let args = layouterror::Args { offset: 0, length: LENGTH_TO_END, stateid, errors: vec![error] };
    status_at(client, &file.handle, |c| c.op(Op::Layouterror, &args)).await
}

/// A connection to the NFS port of a data server.
pub(crate) struct DataPort {
    rpc: RpcClient,
    credential: Credential,
}

impl DataPort {
    /// Opens nothing yet.
    pub(crate) fn new(via: Via, server: SocketAddr) -> Self {
        let rpc = RpcClient::new(Arc::new(via), Arc::new(OsClock::new()), server, Limits::default());
        Self { rpc, credential: user(0) }
    }

    /// READ; the bytes, or the status.
    pub(crate) async fn read(
        &self,
        handle: &Fh3,
        offset: u64,
        count: u32,
    ) -> Outcome<Result<Bytes, Nfsstat3>> {
        let mut reader = self.call(v3::Procedure::Read, &read_args(handle, offset, count)).await?;
        Ok(match v3::read::Res::decode(&mut reader)? {
            v3::Res::Ok(good) => Ok(good.data),
            v3::Res::Fail(status, _) => Err(status),
        })
    }

    /// WRITE, durable; how many bytes were taken, or the status.
    pub(crate) async fn write(
        &self,
        handle: &Fh3,
        offset: u64,
        data: Bytes,
    ) -> Outcome<Result<u32, Nfsstat3>> {
        let args =
            v3::write::Args { file: handle.clone(), offset, stable: v3::write::StableHow::FileSync, data };
        let mut reader = self.call(v3::Procedure::Write, &args).await?;
        Ok(match v3::write::Res::decode(&mut reader)? {
            v3::Res::Ok(good) => Ok(good.count),
            v3::Res::Fail(status, _) => Err(status),
        })
    }

    /// COMMIT of a range; the status.
    pub(crate) async fn commit(&self, handle: &Fh3, offset: u64, count: u32) -> Outcome<Nfsstat3> {
        let args = v3::commit::Args { file: handle.clone(), offset, count };
        let mut reader = self.call(v3::Procedure::Commit, &args).await?;
        Ok(v3::commit::Res::decode(&mut reader)?.status())
    }

    async fn call(&self, procedure: v3::Procedure, args: &impl Encode) -> Outcome<Reader> {
        let mut w = Writer::new();
        args.encode(&mut w);
        let number = procedure.as_u32();
        Ok(self.rpc.call(v3::PROGRAM, v3::VERSION, number, &self.credential, w, DATA_CALL_MS_MAX).await?)
    }
}

/// What READ is asked.
pub(crate) fn read_args(handle: &Fh3, offset: u64, count: u32) -> v3::read::Args {
    v3::read::Args { file: handle.clone(), offset, count }
}
