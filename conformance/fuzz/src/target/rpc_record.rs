//! Record marking and RPC headers: a byte stream as a connection delivers it.
//!
//! The stream is cut into records twice, in pieces of different lengths: how it was delivered must
//! not matter. Each record is then read as a message, and garbage is answered as a server would.
//!
//! Input: a word whose first byte chooses the pieces, then the stream.

use bytes::Bytes;
use wire_rpc::{Credential, Message, OpaqueAuth, RecordAssembler, RecordError, parse};
use wire_xdr::Writer;

use super::row::{MemoryBound, Shape, Target};
use crate::seed::{Numbers, encoded, selected};

/// Far above the input's length, so that announced lengths are admitted that never come.
const RECORD_BYTES_MAX: usize = 256 * 1024;

pub(super) const TARGET: Target = Target {
    name: "rpc_record",
    about: "record assembler over a stream in pieces, RPC call and reply headers, credentials",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound {
        // The assembler reserves what a fragment's header announces, and gathers fragments in a
        // buffer that doubles: that is its bound, whatever the input's length. It lives twice, once
        // for each way of cutting.
        single_bytes: 2 * RECORD_BYTES_MAX + 64 * 1024,
        live_bytes: 4 * RECORD_BYTES_MAX + 256 * 1024,
        ..MemoryBound::DECODER
    },
    input_bytes_max: 4096,
};

fn run(input: &[u8]) -> usize {
    let Some((selector, stream)) = input.split_first_chunk::<4>() else { return 0 };
    let whole = records(stream, || stream.len());
    let mut numbers = Numbers::new(u64::from(selector[0]));
    let pieces = records(stream, || 1 + numbers.below(1 + usize::from(selector[1])));
    assert_eq!(whole, pieces, "how a stream is delivered changes nothing");
    whole.0.into_iter().filter(is_message).count()
}

/// All records of a stream, and how it ended: in good order or not, with or without an error.
fn records(stream: &[u8], mut piece_bytes: impl FnMut() -> usize) -> (Vec<Bytes>, bool, Option<RecordError>) {
    let mut assembler = RecordAssembler::new(RECORD_BYTES_MAX);
    let (mut rest, mut records) = (stream, Vec::new());
    while !rest.is_empty() {
        let (buffer, wanted) = assembler.wanted();
        assert!(0 < wanted, "an assembler always takes bytes");
        let (piece, behind) = rest.split_at(piece_bytes().min(wanted).min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = behind;
        loop {
            match assembler.next_record() {
                Ok(Some(record)) => {
                    assert!(record.len() <= RECORD_BYTES_MAX);
                    records.push(record);
                }
                Ok(None) => break,
                Err(error) => return (records, false, Some(error)),
            }
        }
    }
    (records, assembler.is_between_records(), None)
}

fn is_message(record: &Bytes) -> bool {
    match parse(record.clone()) {
        Ok(Message::Call(header, arguments)) => {
            assert!(arguments.remaining() <= record.len());
            let mut w = wire_rpc::call(
                header.xid,
                header.program,
                header.version,
                header.procedure,
                &header.credential,
            );
            w.raw(&[0; 4]);
            let again = parse(w.into_bytes()).expect("a header that was read can be sent on");
            assert!(matches!(again, Message::Call(again, _) if again.credential == header.credential));
            true
        }
        Ok(Message::Reply(_, results)) => {
            assert!(results.remaining() <= record.len());
            true
        }
        Err(error) => {
            if let Some(answer) = error.answer() {
                assert!(matches!(parse(answer.into_bytes()), Ok(Message::Reply(..))));
            }
            false
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let other = OpaqueAuth { flavor: 6, body: Bytes::from_static(b"context") };
    let sys = wire_rpc::AuthSys {
        stamp: 1,
        machine_name: Bytes::from_static(b"host"),
        uid: 2,
        gid: 3,
        gids: vec![4, 5],
    };
    let mut messages: Vec<Writer> = [Credential::None, Credential::Sys(sys), Credential::Other(other)]
        .iter()
        .map(|credential| wire_rpc::call(7, 100_003, 3, 1, credential))
        .collect();
    messages.extend([
        wire_rpc::accepted_success(7),
        wire_rpc::prog_unavail(7),
        wire_rpc::prog_mismatch(7, 1, 2),
        wire_rpc::proc_unavail(7),
        wire_rpc::garbage_args(7),
        wire_rpc::system_err(7),
        wire_rpc::rpc_mismatch(7),
        wire_rpc::auth_error(7, wire_rpc::AuthStat::TOOWEAK),
    ]);
    let messages: Vec<Bytes> = messages.into_iter().map(Writer::into_bytes).collect();
    let mut seeds: Vec<Vec<u8>> =
        messages.iter().map(|message| selected([1, 3, 0, 0], &marked(&[message]))).collect();
    let all: Vec<u8> = messages.iter().flat_map(|message| marked(&[message])).collect();
    seeds.push(selected([2, 200, 0, 0], &all));
    let (head, tail) = messages[1].split_at(8);
    seeds.push(selected([3, 9, 0, 0], &marked(&[head, tail])));
    seeds.push(selected([3, 9, 0, 0], &[marked(&[&messages[0]]).as_slice(), &[0x80, 1, 0, 0]].concat()));
    seeds
}

/// A record of these fragments.
fn marked(fragments: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, fragment) in fragments.iter().enumerate() {
        let bytes = u32::try_from(fragment.len()).expect("seeds are short");
        let last = if index + 1 == fragments.len() { 0x8000_0000 } else { 0 };
        out.extend_from_slice(&encoded(&(bytes | last)));
        out.extend_from_slice(fragment);
    }
    out
}
