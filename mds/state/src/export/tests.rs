//! Networks, squashing, and lists that are refused.

use super::*;

fn user(uid: u32, gid: u32, gids: &[u32]) -> Caller {
    Caller { uid, gid, gids: gids.to_vec() }
}

#[test]
fn networks_contain_what_their_prefix_says() {
    let network: Network = "10.1.0.0/16".parse().unwrap();
    assert!(network.contains("10.1.255.1".parse().unwrap()));
    assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!network.contains("10.2.0.1".parse().unwrap()));
    assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("192.0.2.1".parse().unwrap()));
    assert!("::/0".parse::<Network>().unwrap().contains("fd00::1".parse().unwrap()));
    assert!(!"fd00::/8".parse::<Network>().unwrap().contains("10.0.0.1".parse().unwrap()));
    assert_eq!("10.0.0.0/33".parse::<Network>(), Err(NetworkError::Prefix("33".into())));
    assert_eq!("10.0.0.0/-1".parse::<Network>(), Err(NetworkError::Prefix("-1".into())));
    assert_eq!("host".parse::<Network>(), Err(NetworkError::Address("host".into())));
}

#[test]
fn root_squash_takes_root_from_user_group_and_groups() {
    let export = Export { squash: Squash::Root, ..Export::everything() };
    assert_eq!(export.squash(user(0, 0, &[0, 4])), user(65534, 65534, &[4]));
    assert_eq!(export.squash(user(1000, 100, &[4])), user(1000, 100, &[4]));
    let all = Export { squash: Squash::All, ..Export::everything() };
    assert_eq!(all.squash(user(1000, 100, &[4])), user(65534, 65534, &[]));
}

#[test]
fn a_list_is_refused_for_its_first_error() {
    let at = |path: &str| Export { path: path.to_owned(), ..Export::everything() };
    let refused = |list: &[Export]| check(list.iter()).expect_err("it is refused");
    assert_eq!(check([at("/"), at("/a/b.c")].iter()), Ok(()));
    assert_eq!(refused(&[]), ExportsError::Count(0));
    assert_eq!(refused(&vec![at("/"); EXPORTS_MAX + 1]), ExportsError::Count(EXPORTS_MAX + 1));
    for path in ["", "a", "//", "/a/", "/a//b", "/./a", "/a/.."] {
        assert_eq!(refused(&[at(path)]), ExportsError::Path(path.to_owned()));
    }
    assert_eq!(check([at(&format!("/{}", "x".repeat(EXPORT_PATH_BYTES_MAX - 1)))].iter()), Ok(()));
    let long = format!("/{}", "x".repeat(EXPORT_PATH_BYTES_MAX));
    assert!(matches!(refused(&[at(&long)]), ExportsError::Path(_)));
    assert_eq!(refused(&[at("/a"), at("/b"), at("/a")]), ExportsError::Twice("/a".to_owned()));
    for stripes in [0, 3, 16] {
        let error = refused(&[Export { stripes, ..at("/a") }]);
        assert_eq!(error, ExportsError::Stripes { path: "/a".to_owned(), stripes });
    }
    let network: Network = "fd00::/8".parse().unwrap();
    let clients = vec![network; EXPORTS_BYTES_MAX / 48];
    assert_eq!(refused(&[Export { clients, ..at("/a") }]), ExportsError::Bytes);
}

/// An export that gives a client or a user less restricts; an undecidable case counts as that.
#[test]
fn an_export_that_gives_less_restricts() {
    let all = Export::everything;
    let of = |clients: &[&str]| Export {
        clients: clients.iter().map(|text| text.parse().unwrap()).collect(),
        ..all()
    };
    let squash = |squash, uid| Export { squash, anonymous: Anonymous { uid, gid: 9 }, ..all() };
    let wider = [
        (all(), all()),
        (Export { read_only: true, pnfs: false, ..all() }, all()),
        (all(), Export { stripes: 8, ..all() }),
        (all(), Export::any_port()),
        (of(&["10.0.0.0/16"]), all()),
        (of(&["10.0.0.0/16", "fd00::/64"]), of(&["fd00::/16", "10.0.0.0/8", "192.0.2.1"])),
        (squash(Squash::Root, 9), squash(Squash::None, 8)),
        (squash(Squash::All, 9), squash(Squash::Root, 9)),
        (squash(Squash::None, 9), squash(Squash::None, 8)),
    ];
    for (before, after) in wider {
        assert!(!before.restricts(&after), "{before:?} {after:?}");
    }
    let narrower = [
        (all(), Export { read_only: true, ..all() }),
        (all(), Export { pnfs: false, ..all() }),
        (Export::any_port(), all()),
        (all(), of(&["0.0.0.0/0"])),
        (of(&["10.0.0.0/8"]), of(&["10.0.0.0/16"])),
        (of(&["10.0.0.0/8", "fd00::1"]), of(&["10.0.0.0/8"])),
        (of(&["10.0.0.0/24"]), of(&["10.0.0.0/25", "10.0.0.128/25"])),
        (squash(Squash::None, 9), squash(Squash::Root, 9)),
        (squash(Squash::Root, 9), squash(Squash::All, 9)),
        (squash(Squash::Root, 9), squash(Squash::Root, 8)),
        (squash(Squash::All, 9), squash(Squash::Root, 8)),
        (squash(Squash::All, 0), squash(Squash::None, 0)),
    ];
    for (before, after) in narrower {
        assert!(before.restricts(&after), "{before:?} {after:?}");
    }
}

#[test]
fn ports_below_1024_are_the_hosts_own() {
    let (secure, any) = (Export::everything(), Export::any_port());
    for (port, reserved) in [(1, true), (665, true), (1023, true), (1024, false), (u16::MAX, false)] {
        assert_eq!((secure.takes_port(port), any.takes_port(port)), (reserved, true), "{port}");
    }
}
