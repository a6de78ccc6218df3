//! The choice of members and data servers: rules, turns, and the best spread there is.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::limits::WORKS_ENOUGH;

const MIB: u64 = 1 << 20;

fn server(id: u32, zone: &str, rack: &str, host: &str) -> Server {
    let labels = Labels { zone: zone.to_owned(), rack: rack.to_owned(), host: host.to_owned() };
    Server { id: DataServerId(id), labels, free_bytes: 1 << 40, up: true, works: 0 }
}

/// Servers of one zone and rack, each on a host of its own.
fn hosts(count: u32) -> Vec<Server> {
    (1..=count).map(|id| server(id, "", "", &format!("host{id}"))).collect()
}

fn image(number: u32, home: u32, bytes: u64) -> Waiting {
    let mut id = [1; 16];
    id[12..].copy_from_slice(&number.to_be_bytes());
    Waiting { image: ImageId(id), home: DataServerId(home), bytes, overdue: false }
}

/// A full image on each of these servers.
fn one_each(homes: impl IntoIterator<Item = u32>) -> Vec<Waiting> {
    homes
        .into_iter()
        .enumerate()
        .map(|(at, home)| image(u32::try_from(at).unwrap(), home, 64 * MIB))
        .collect()
}

fn ids(parity: &[DataServerId]) -> Vec<u32> {
    parity.iter().map(|id| id.0).collect()
}

#[test]
fn each_image_is_on_another_server() {
    let choice = choose(Profile::FourPlusTwo, &one_each([1, 1, 2, 2, 3, 3, 4, 4]), &hosts(6), 0).unwrap();
    assert_eq!(choice.members, [Some(0), Some(2), Some(4), Some(6)]);
    assert_eq!(ids(&choice.parity), [5, 6]);
    assert_eq!(choice.spread, Spread { zone: 6, rack: 6, host: 1 });
}

#[test]
fn too_few_servers_or_images_wait() {
    let waiting = one_each([1, 2, 3, 4]);
    assert_eq!(choose(Profile::FourPlusTwo, &waiting, &hosts(5), 0), None);
    assert_eq!(choose(Profile::FourPlusTwo, &waiting[..3], &hosts(6), 0), None);
    assert_eq!(choose(Profile::FourPlusTwo, &one_each([1, 2, 3, 3]), &hosts(6), 0), None);
    assert_eq!(choose(Profile::FourPlusTwo, &[], &hosts(6), 0), None);
    assert_eq!(choose(Profile::FourPlusTwo, &waiting, &[], 0), None);
}

#[test]
fn what_is_under_way_counts() {
    let waiting = one_each([1, 2, 3, 4]);
    let mut servers = hosts(8);
    servers[7].free_bytes *= 2;
    let parity = |servers: &[Server]| {
        let mut chosen = ids(&choose(Profile::FourPlusTwo, &waiting, servers, 0).unwrap().parity);
        chosen.sort_unstable();
        chosen
    };
    assert_eq!(parity(&servers), [5, 8]);
    servers[4].works = 1;
    assert_eq!(parity(&servers), [6, 8]);
    // It is emptier by far, and has enough to do all the same.
    servers[7].works = WORKS_ENOUGH;
    assert_eq!(parity(&servers), [6, 7]);
    servers.iter_mut().for_each(|server| server.works = WORKS_ENOUGH);
    assert_eq!(parity(&servers), [5, 8], "so have all");
}

#[test]
fn a_deadline_makes_a_short_group() {
    let mut waiting = one_each([1, 2]);
    waiting[1].overdue = true;
    let choice = choose(Profile::FourPlusTwo, &waiting, &hosts(6), 0).unwrap();
    assert_eq!(choice.members, [Some(1), Some(0), None, None]);
    assert_eq!(ids(&choice.parity), [3, 4]);
    // With fewer servers than images of a full group, too.
    let mut waiting = one_each([1, 2, 3, 4]);
    waiting[0].overdue = true;
    let choice = choose(Profile::FourPlusTwo, &waiting, &hosts(5), 0).unwrap();
    assert_eq!(choice.members, [Some(0), Some(1), Some(2), None]);
    assert_eq!(ids(&choice.parity), [4, 5]);
    assert_eq!(
        choose(Profile::FourPlusTwo, &waiting, &hosts(2), 0),
        None,
        "two parity images and a member need three"
    );
}

#[test]
fn domains_hold_no_more_than_may_be_lost() {
    // Three racks of three, four of a zone's images wait in one rack.
    let servers: Vec<Server> =
        (0..9).map(|at| server(at, "", &format!("rack{}", at / 3), &format!("host{at}"))).collect();
    let choice = choose(Profile::FourPlusTwo, &one_each([0, 1, 2, 3, 6]), &servers, 0).unwrap();
    assert_eq!(choice.spread, Spread { zone: 6, rack: 2, host: 1 });
    // Only one rack's images: better wait than lay three of six where one switch takes them.
    assert_eq!(choose(Profile::FourPlusTwo, &one_each([0, 1, 2, 0]), &servers, 0), None);
    let mut late = one_each([0, 1, 2]);
    late[0].overdue = true;
    let choice = choose(Profile::FourPlusTwo, &late, &servers, 0).unwrap();
    assert_eq!(choice.members, [Some(0), Some(1), None, None]);
    assert_eq!(choice.spread.rack, 2);
}

#[test]
fn racks_of_one_name_in_two_zones_are_two() {
    let servers: Vec<Server> =
        (0..6).map(|at| server(at, &format!("zone{}", at / 2), "rack", &format!("{}", at % 2))).collect();
    let choice = choose(Profile::FourPlusTwo, &one_each([0, 1, 2, 3]), &servers, 0).unwrap();
    assert_eq!(choice.spread, Spread { zone: 2, rack: 2, host: 1 });
}

#[test]
fn caps_are_given_up_zones_first() {
    // Two zones cannot hold 4+2 with two in each; their racks can.
    let servers: Vec<Server> = (0..8)
        .map(|at| server(at, &format!("zone{}", at / 4), &format!("rack{}", at / 2), &format!("host{at}")))
        .collect();
    let choice = choose(Profile::FourPlusTwo, &one_each(0..8), &servers, 0).unwrap();
    assert_eq!(choice.spread, Spread { zone: 3, rack: 2, host: 1 });
    // All on one machine: any group is better than none.
    let servers: Vec<Server> = (0..6).map(|at| server(at, "", "", "laptop")).collect();
    let choice = choose(Profile::FourPlusTwo, &one_each(0..6), &servers, 0).unwrap();
    assert_eq!(choice.spread, Spread { zone: 6, rack: 6, host: 6 });
}

#[test]
fn images_of_like_length_go_together() {
    let lengths = [64, 10, 64, 10, 63, 30, 62, 10, 61];
    let waiting: Vec<Waiting> = lengths.iter().zip(1..).map(|(mib, at)| image(at, at, mib * MIB)).collect();
    let choice = choose(Profile::FourPlusTwo, &waiting, &hosts(12), 0).unwrap();
    assert_eq!(choice.members, [Some(0), Some(2), Some(4), Some(6)]);
    // The oldest finds no other; those behind it are not held up.
    let choice = choose(Profile::TwoPlusOne, &waiting[1..4], &hosts(12), 0).unwrap();
    assert_eq!(choice.members, [Some(0), Some(2)]);
    // Overdue, it takes shorter ones, and none that would make the parity longer.
    let mut late = waiting.clone();
    late[5].overdue = true;
    let choice = choose(Profile::FourPlusTwo, &late[5..8], &hosts(12), 0).unwrap();
    assert_eq!(choice.members, [Some(0), Some(2), None, None]);
}

#[test]
fn parity_goes_where_room_is_and_takes_turns() {
    let mut servers = hosts(6);
    servers[2].free_bytes = 64 * MIB;
    servers[3].up = false;
    let choice = choose(Profile::TwoPlusOne, &one_each([1, 2]), &servers, 0).unwrap();
    assert_eq!(ids(&choice.parity), [5], "3 has no room for what is said of the parity, 4 is down");
    let turns: BTreeSet<Vec<u32>> = (0..6)
        .map(|rotation| {
            ids(&choose(Profile::TwoPlusOne, &one_each([1, 2]), &hosts(6), rotation).unwrap().parity)
        })
        .collect();
    assert_eq!(turns.into_iter().collect::<Vec<_>>(), [[3], [4], [5], [6]]);
    let mut servers = hosts(6);
    servers[4].free_bytes /= 2;
    servers[2].free_bytes /= 4;
    servers[3].free_bytes /= 4;
    let choice = choose(Profile::TwoPlusOne, &one_each([1, 2]), &servers, 2).unwrap();
    assert_eq!(ids(&choice.parity), [6], "the freest");
}

#[test]
fn images_of_servers_that_are_away_wait() {
    let mut servers = hosts(6);
    servers[0].up = false;
    let choice = choose(Profile::TwoPlusOne, &one_each([1, 2, 9, 3]), &servers, 0).unwrap();
    assert_eq!(choice.members, [Some(1), Some(3)]);
}

#[test]
fn copies_are_chosen_the_same_way() {
    let choice = choose(Profile::TwoCopies, &one_each([1]), &hosts(2), 0).unwrap();
    assert_eq!((choice.members, ids(&choice.parity)), (vec![Some(0)], vec![2]));
    let choice = choose(Profile::OneCopy, &one_each([1]), &hosts(1), 0).unwrap();
    assert_eq!((choice.members, ids(&choice.parity)), (vec![Some(0)], vec![]));
    assert_eq!(choose(Profile::TwoCopies, &one_each([1]), &hosts(1), 0), None);
}

#[test]
fn a_lost_image_goes_to_a_server_without_one() {
    let servers: Vec<Server> =
        (0..8).map(|at| server(at, "", &format!("rack{}", at / 2), &format!("host{at}"))).collect();
    let kept: Vec<DataServerId> = [0, 1, 2, 3, 4].map(DataServerId).into();
    for rotation in 0..8 {
        let home = replace(Profile::FourPlusTwo, &kept, MIB, &servers, rotation).unwrap();
        assert!([6, 7].contains(&home.0), "rack 3 has none yet, rack 2 has one: {home}");
    }
    // Only a full rack is left, or a server that has an image already.
    assert_eq!(replace(Profile::FourPlusTwo, &kept[1..], MIB, &servers[..5], 0), Some(DataServerId(0)));
    assert_eq!(replace(Profile::FourPlusTwo, &kept, MIB, &servers[..5], 0), None);
    assert_eq!(replace(Profile::FourPlusTwo, &kept, 2 << 40, &servers, 0), None);
    assert_eq!(replace(Profile::FourPlusTwo, &[], MIB, &[], 0), None);
}

#[test]
fn a_long_queue_is_looked_at_in_part() {
    let mut waiting = one_each(std::iter::repeat_n(1, GROUP_WAITING_MAX));
    waiting.push(image(9999, 2, 64 * MIB));
    assert_eq!(choose(Profile::TwoPlusOne, &waiting, &hosts(3), 0), None);
    assert!(choose(Profile::TwoPlusOne, &waiting[1..], &hosts(3), 0).is_some());
}

fn cluster() -> impl Strategy<Value = Vec<Server>> {
    proptest::collection::vec((0..3, 0..3, 0..3), 1..10).prop_map(|places| {
        let name = |number: i32| number.to_string();
        let numbered = places.into_iter().zip(0..);
        numbered.map(|((zone, rack, host), id)| server(id, &name(zone), &name(rack), &name(host))).collect()
    })
}

/// The least that the fullest domain of a level must hold of `images` images.
fn least(servers: &[Server], images: usize, level: usize) -> usize {
    let places = Places::default().number_all(servers.iter().map(|server| &server.labels));
    let domains: BTreeSet<usize> = places.iter().map(|place| place[level]).collect();
    let sizes: Vec<usize> =
        domains.iter().map(|domain| places.iter().filter(|place| place[level] == *domain).count()).collect();
    (0..=images).find(|cap| images <= sizes.iter().map(|size| size.min(cap)).sum()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn every_choice_keeps_the_rules(
        profile in proptest::sample::select(&Profile::ALL[..]),
        mut servers in cluster(),
        down in proptest::collection::vec(proptest::bool::weighted(0.1), 10),
        waiting in proptest::collection::vec((0..11_u32, 1..5_u64, proptest::bool::weighted(0.2)), 0..12),
        rotation: u64,
    ) {
        servers.iter_mut().zip(&down).for_each(|(server, down)| server.up = !down);
        let waiting: Vec<Waiting> = waiting.iter().zip(0..).map(|((home, mib, overdue), number)| {
            Waiting { overdue: *overdue, ..image(number, *home, mib * MIB) }
        }).collect();
        let Some(choice) = choose(profile, &waiting, &servers, rotation) else { return Ok(()) };
        prop_assert_eq!(choice.members.len(), profile.data());
        prop_assert_eq!(choice.parity.len(), profile.parity());
        let members: Vec<&Waiting> = choice.members.iter().flatten().map(|at| &waiting[*at]).collect();
        prop_assert!(!members.is_empty());
        let homes: Vec<DataServerId> = members.iter().map(|image| image.home).chain(choice.parity.clone()).collect();
        prop_assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), homes.len(), "each on another server");
        let sites: Vec<&Server> =
            homes.iter().map(|home| servers.iter().find(|server| server.id == *home).unwrap()).collect();
        prop_assert!(sites.iter().all(|server| server.up));
        prop_assert_eq!(choice.spread, Spread::of(sites.iter().map(|server| &server.labels)));
        let short = members.len() < profile.data();
        prop_assert!(!short || members[0].overdue, "only a deadline makes a short group");
        let longest = members.iter().map(|image| image.bytes).max().unwrap();
        prop_assert!(longest * 95 <= members[0].bytes * 100, "none makes the parity much longer");
        // Hosts, racks, zones: what can be survived is survived.
        let up: Vec<Server> = servers.iter().filter(|server| server.up).cloned().collect();
        let most = profile.losses_tolerated();
        if least(&up, homes.len(), 2) <= most {
            prop_assert!(choice.spread.host <= most, "{:?}", choice.spread);
        }
        let strict = Cluster::new(profile, &up, 0).caps[0].1;
        if homes.len() <= strict {
            prop_assert!(choice.spread.zone <= most, "{:?}", choice.spread);
        }
    }

    /// With an image on every server there is always a group, and no zone holds more of it than one
    /// must.
    #[test]
    fn plenty_of_images_are_spread_best(zones in proptest::collection::vec(0..5, 1..16), rotation: u64) {
        let place = |(zone, id): (&i32, u32)| server(id, &zone.to_string(), "", &id.to_string());
        let servers: Vec<Server> = zones.iter().zip(0..).map(place).collect();
        for profile in Profile::ALL {
            let waiting = one_each(0..u32::try_from(servers.len()).unwrap());
            let choice = choose(profile, &waiting, &servers, rotation);
            prop_assert_eq!(choice.is_some(), profile.images() <= servers.len());
            if let Some(choice) = choice {
                prop_assert_eq!(choice.spread.zone, least(&servers, profile.images(), 0));
            }
        }
    }

    /// Nothing that waits in vain before its deadline waits after it, if there are servers for one
    /// member and its parity.
    #[test]
    fn a_deadline_ends_waiting(servers in cluster(), home in 0..9_u32) {
        for profile in Profile::ALL {
            let late = Waiting { overdue: true, ..image(1, home, MIB) };
            let choice = choose(profile, &[late], &servers, 0);
            let possible = (home as usize) < servers.len() && profile.parity() < servers.len();
            prop_assert_eq!(choice.is_some(), possible);
        }
    }
}

fn short(homes: &[u32], mib: u64) -> Short {
    let homes: Vec<DataServerId> = homes.iter().copied().map(DataServerId).collect();
    let movable = (0..homes.len()).collect();
    Short { homes, longest_bytes: mib * MIB, others: Vec::new(), movable }
}

/// The queue of one server must not be what is left.
#[test]
fn the_longest_queues_go_first() {
    let mut waiting = one_each([1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 1, 2]);
    let mut groups = 0;
    while let Some(choice) = choose(Profile::FourPlusTwo, &waiting, &hosts(6), groups) {
        let taken: Vec<usize> = choice.members.iter().flatten().copied().collect();
        waiting =
            waiting.iter().enumerate().filter(|(at, _)| !taken.contains(at)).map(|(_, one)| *one).collect();
        groups += 1;
    }
    assert_eq!((groups, waiting.len()), (3, 0));
}

#[test]
fn of_what_is_overdue_the_longest_takes_the_others() {
    let mut waiting =
        [image(1, 1, 8 * MIB), image(2, 2, 64 * MIB), image(3, 3, 64 * MIB), image(4, 4, 64 * MIB)];
    waiting.iter_mut().for_each(|one| one.overdue = true);
    let choice = choose(Profile::FourPlusTwo, &waiting, &hosts(6), 0).unwrap();
    assert_eq!(choice.members, [Some(1), Some(2), Some(3), Some(0)]);
}

#[test]
fn short_groups_become_one() {
    let joined = |groups: &[Short]| join(Profile::FourPlusTwo, groups, &hosts(6), 0);
    let full = joined(&[short(&[1, 2], 64), short(&[3], 64), short(&[3, 4], 64)]).unwrap();
    assert_eq!((full.pair, ids(&full.parity)), ([0, 2], vec![5, 6]));
    assert_eq!(joined(&[short(&[1, 2], 64), short(&[2, 3], 64)]), None, "two on one server");
    assert_eq!(joined(&[short(&[1, 2, 3], 64), short(&[4, 5], 64)]), None, "too many");
    assert_eq!(joined(&[short(&[1], 64), short(&[2], 15)]), None, "it does not pay");
    assert_eq!(joined(&[short(&[1], 64), short(&[2], 16)]).map(|one| one.pair), Some([0, 1]));
    assert_eq!(joined(&[short(&[1], 64), short(&[9], 64)]), None, "one is away");
    assert_eq!(joined(&[short(&[1], 64), short(&[], 64)]), None);
    // Members would lie three in a rack, where two can be lost: better two groups.
    let racks: Vec<Server> =
        (0..9).map(|at| server(at, "", &format!("rack{}", at / 3), &format!("host{at}"))).collect();
    assert_eq!(join(Profile::FourPlusTwo, &[short(&[0, 1], 1), short(&[2, 3], 1)], &racks, 0), None);
    assert!(join(Profile::FourPlusTwo, &[short(&[0, 1], 1), short(&[6, 3], 1)], &racks, 0).is_some());
}

/// Two groups that share a data server become one after a member has moved: not to a server that
/// has an image of its group, and only where that is enough.
#[test]
fn a_member_moves_where_that_makes_two_groups_one() {
    let parted = |groups: &[Short]| part(Profile::FourPlusTwo, groups, &hosts(6));
    let with_parity = |homes: &[u32], parity: &[u32]| {
        let others = parity.iter().copied().map(DataServerId).collect();
        Short { others, ..short(homes, 64) }
    };
    let [two, one] = [with_parity(&[1, 2], &[3, 4]), with_parity(&[2], &[1, 3])];
    let moved = parted(&[two.clone(), one.clone()]).unwrap();
    assert_eq!((moved.group, moved.member), (0, 1));
    assert!([5, 6].contains(&moved.to.0), "{moved:?}: 1, 2, 3 and 4 have an image of its group");
    let fixed = Short { movable: Vec::new(), ..two.clone() };
    let moved = parted(&[fixed, one.clone()]).unwrap();
    assert_eq!((moved.group, moved.member), (1, 0));
    assert!([4, 5, 6].contains(&moved.to.0), "{moved:?}: 1 has a member of the other group");
    let fixed = |group: &Short| Short { movable: Vec::new(), ..group.clone() };
    assert_eq!(parted(&[fixed(&two), fixed(&one)]), None);
    assert_eq!(
        parted(&[with_parity(&[1, 2], &[3, 4]), with_parity(&[1, 2], &[3, 4])]),
        None,
        "two would have to"
    );
    assert_eq!(parted(&[short(&[1, 2, 3], 64), short(&[3, 4], 64)]), None, "too many for one");
    assert_eq!(parted(&[short(&[1], 64), short(&[1], 15)]), None, "it does not pay");
    let full: Vec<Server> = hosts(6).into_iter().map(|one| Server { free_bytes: MIB, ..one }).collect();
    assert_eq!(part(Profile::FourPlusTwo, &[two, one], &full), None, "nowhere to go");
}
