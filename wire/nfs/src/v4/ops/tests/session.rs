//! Golden bytes of the operations on clients, sessions and stateids.

use super::*;
use crate::v4::callback_sec::{AuthSys, CallbackSec, GssHandles};

/// Spec: RFC 8881 §18.46.1, §18.46.2.
#[test]
fn sequence() {
    let args = super::super::sequence::Args {
        session: SESSION,
        sequenceid: 5,
        slotid: 1,
        highest_slotid: 3,
        cache_this: true,
    };
    golden(&args, &join(&[&SESSION_WORDS, &[5, 1, 3, 1]]));
    let res = super::super::sequence::ResOk {
        session: SESSION,
        sequenceid: 5,
        slotid: 1,
        highest_slotid: 63,
        target_highest_slotid: 62,
        status_flags: super::super::sequence::status_flags::RESTART_RECLAIM_NEEDED,
    };
    golden(&res, &join(&[&SESSION_WORDS, &[5, 1, 63, 62, 0x100]]));
}

/// What a stock kernel sends first, its name included.
/// Spec: RFC 8881 §18.35.1.
#[test]
fn exchange_id_args() {
    use exchange_id::{Args, ImplId, StateProtectAsked, flags};
    let args = Args {
        verifier: Verifier(*b"bootboot"),
        owner_id: name("Linux v4.2 h"),
        flags: flags::SUPP_MOVED_REFER | flags::BIND_PRINC_STATEID,
        state_protect: StateProtectAsked::None,
        impl_id: vec![ImplId {
            domain: name("kernel.org"),
            name: name("Linux 6"),
            date: Nfstime4 { seconds: 0, nseconds: 0 },
        }],
    };
    golden(
        &args,
        &[
            text(b"boot"),
            text(b"boot"), // co_verifier
            12,
            text(b"Linu"),
            text(b"x v4"),
            text(b".2 h"), // co_ownerid
            0x0101,        // eia_flags
            0,             // SP4_NONE
            1,             // one implementation id
            10,
            text(b"kern"),
            text(b"el.o"),
            text(b"rg\0\0"), // nii_domain
            7,
            text(b"Linu"),
            text(b"x 6\0"), // nii_name
            0,
            0,
            0, // nii_date
        ],
    );
}

/// Spec: RFC 8881 §18.35.2.
#[test]
fn exchange_id_result() {
    use exchange_id::{ResOk, StateProtectGranted, flags};
    let res = ResOk {
        clientid: 0x0000_0001_0000_0002,
        sequenceid: 1,
        flags: flags::USE_PNFS_MDS | flags::CONFIRMED_R,
        state_protect: StateProtectGranted::None,
        server_minor_id: 3,
        server_major_id: name("shoal"),
        server_scope: name("scope"),
        impl_id: Vec::new(),
    };
    golden(
        &res,
        &[
            1,
            2,           // eir_clientid
            1,           // eir_sequenceid
            0x8002_0000, // eir_flags
            0,           // SP4_NONE
            0,
            3, // so_minor_id
            5,
            text(b"shoa"),
            text(b"l\0\0\0"), // so_major_id
            5,
            text(b"scop"),
            text(b"e\0\0\0"), // eir_server_scope
            0,                // no implementation id
        ],
    );
}

/// The arms of the state protection that we read and do not grant.
/// Spec: RFC 8881 §18.35.1.
#[test]
fn exchange_id_state_protection() {
    use exchange_id::{ProtectOps, SecOid, SsvInfo, SsvParms, StateProtectAsked, StateProtectGranted};
    let ops = ProtectOps { must_enforce: Bitmap::of(&[42, 43]), must_allow: Bitmap::of(&[4]) };
    let ops_words = [2, 0, 0x0c00, 1, 0x10];
    golden(&StateProtectAsked::MachineCred(ops), &join(&[&[1], &ops_words]));
    golden(&StateProtectGranted::MachineCred(ops), &join(&[&[1], &ops_words]));
    let parms = SsvParms {
        ops,
        hash_algorithms: vec![SecOid { oid: name("hash") }],
        encryption_algorithms: Vec::new(),
        window: 8,
        gss_handles: 2,
    };
    golden(&StateProtectAsked::Ssv(parms), &join(&[&[2], &ops_words, &[1, 4, text(b"hash"), 0, 8, 2]]));
    let info = SsvInfo {
        ops,
        hash_algorithm: 1,
        encryption_algorithm: 2,
        ssv_bytes: 32,
        window: 8,
        handles: vec![exchange_id::GssHandle { handle: name("gss1") }],
    };
    golden(&StateProtectGranted::Ssv(info), &join(&[&[2], &ops_words, &[1, 2, 32, 8, 1, 4, text(b"gss1")]]));
}

fn channel(requests_max: u32, rdma_ird: Vec<u32>) -> create_session::ChannelAttrs {
    create_session::ChannelAttrs {
        header_pad_bytes: 0,
        request_bytes_max: 1_049_620,
        response_bytes_max: 1_049_480,
        response_cached_bytes_max: 3_428,
        operations_max: 8,
        requests_max,
        rdma_ird,
    }
}

/// Spec: RFC 8881 §18.36.1, §18.36.2.
#[test]
fn create_session() {
    use super::super::create_session::{Args, ResOk, flags};
    let sys = AuthSys { stamp: 9, machine_name: name("host"), uid: 0, gid: 0, gids: vec![4] };
    let args = Args {
        clientid: 2,
        sequence: 1,
        flags: flags::PERSIST | flags::CONN_BACK_CHAN,
        fore: channel(64, Vec::new()),
        back: channel(16, vec![5]),
        cb_program: 0x4000_0000,
        sec_parms: vec![CallbackSec::None, CallbackSec::Sys(sys)],
    };
    let fore = [0, 1_049_620, 1_049_480, 3_428, 8, 64, 0];
    let back = [0, 1_049_620, 1_049_480, 3_428, 8, 16, 1, 5];
    golden(
        &args,
        &join(&[
            &[0, 2], // csa_clientid
            &[1],    // csa_sequence
            &[3],    // csa_flags
            &fore,
            &back,
            &[0x4000_0000],                        // csa_cb_program
            &[2, 0],                               // two ways, AUTH_NONE
            &[1, 9, 4, text(b"host"), 0, 0, 1, 4], // AUTH_SYS
        ]),
    );
    let res = ResOk {
        session: SESSION,
        sequence: 1,
        flags: flags::CONN_BACK_CHAN,
        fore: channel(64, Vec::new()),
        back: channel(16, vec![5]),
    };
    golden(&res, &join(&[&SESSION_WORDS, &[1, 2], &fore, &back]));
}

/// Spec: RFC 8881 §18.33.1.
#[test]
fn backchannel_ctl() {
    let gss = GssHandles { service: 2, from_server: name("serv"), from_client: name("cli") };
    let args = super::super::backchannel_ctl::Args {
        cb_program: 0x4000_0001,
        sec_parms: vec![CallbackSec::Gss(gss)],
    };
    golden(&args, &[0x4000_0001, 1, 6, 2, 4, text(b"serv"), 3, text(b"cli\0")]);
}

/// Spec: RFC 8881 §18.34, §18.37, §18.38, §18.48, §18.50, §18.51.
#[test]
fn small_session_operations() {
    use bind_conn_to_session::{Args, DirectionAsked, DirectionGranted, ResOk};
    let args = Args { session: SESSION, direction: DirectionAsked::ForeOrBoth, rdma_mode: false };
    golden(&args, &join(&[&SESSION_WORDS, &[3, 0]]));
    let res = ResOk { session: SESSION, direction: DirectionGranted::Both, rdma_mode: false };
    golden(&res, &join(&[&SESSION_WORDS, &[3, 0]]));
    golden(&destroy_session::Args { session: SESSION }, &SESSION_WORDS);
    golden(&free_stateid::Args { stateid: STATEID }, &STATEID_WORDS);
    golden(&destroy_clientid::Args { clientid: 1 << 32 }, &[1, 0]);
    golden(&reclaim_complete::Args { one_fs: false }, &[0]);
    golden(&test_stateid::Args { stateids: vec![STATEID] }, &join(&[&[1], &STATEID_WORDS]));
    let statuses = vec![Nfsstat4::Ok, Nfsstat4::BadStateid];
    golden(&test_stateid::ResOk { statuses }, &[2, 0, 10_025]);
}

/// A list that claims more than its bound is refused before anything of it is read.
#[test]
fn lists_above_their_bounds() {
    let claim = |op: Op, head: &[u32]| AnyArgs::decode(op, &mut Reader::new(words(head).into()));
    assert!(claim(Op::TestStateid, &[u32::MAX]).is_err());
    assert!(claim(Op::TestStateid, &[1025]).is_err());
    let two_impl_ids = join(&[&[0, 0, 0, 0, 0, 2], &[0; 40]]);
    assert!(claim(Op::ExchangeId, &two_impl_ids).is_err());
    let nine_ways = join(&[&[0, 9], &[0; 9]]);
    assert!(claim(Op::BackchannelCtl, &nine_ways).is_err());
}
