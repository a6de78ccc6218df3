//! What must be true of the replicas when all is quiet: a sound tree, nothing left behind, all
//! alike.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use layout::DataServerId;
use mds_namespace::store::KEY_SPACE_END;
use mds_namespace::{MetaStore, View, codec, invariants, keys};
use mds_state::key;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

fn pairs(store: &dyn MetaStore) -> Result<Pairs, String> {
    let view = store.view().map_err(|error| error.to_string())?;
    let mut pairs = Pairs::new();
    let all = view.range(&[], KEY_SPACE_END, &mut |key, value| {
        pairs.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    });
    all.map_err(|error| error.to_string())?;
    Ok(pairs)
}

/// Every inode reachable once, link counts right, what belongs together is together.
pub(crate) fn sound(shards: &[&dyn MetaStore]) -> Result<(), String> {
    let views = shards.iter().map(|store| store.view()).collect::<Result<Vec<_>, _>>();
    let views = views.map_err(|error| error.to_string())?;
    let views: Vec<&dyn View> = views.iter().map(|view| &**view as &dyn View).collect();
    invariants::check_shards(&views).map_err(|error| error.to_string())
}

/// No orphan, no work undone, no state of clients that are gone.
/// What servers that are gone for good were to do stays, as long as the operator does not say that
/// they are.
pub(crate) fn nothing_left(store: &dyn MetaStore, gone: &BTreeSet<DataServerId>) -> Result<(), String> {
    let mut pairs = pairs(store)?;
    pairs.retain(|key, value| {
        let is_work = key.first() == Some(&keys::TAG_WORK);
        !is_work || codec::decode_work(value).map_or(true, |item| !gone.contains(&item.home()))
    });
    let left = |what: &str, is: &dyn Fn(&[u8]) -> bool| {
        let count = pairs.keys().filter(|key| is(key)).count();
        if count == 0 { Ok(()) } else { Err(format!("{count} {what} left")) }
    };
    let begins = |prefix: &'static [u8]| move |key: &[u8]| key.starts_with(prefix);
    left("orphans", &|key| key.first() == Some(&keys::TAG_ORPHAN))?;
    left("work items", &|key| key.first() == Some(&keys::TAG_WORK))?;
    left("clients", &begins(key::CLIENTS))?;
    left("sessions", &begins(b"state/session/"))?;
    left("records of slots", &begins(b"state/slot/"))?;
    left("opens", &begins(b"state/open/"))?;
    left("open-owners", &begins(b"state/opener/"))?;
    left("share reservations", &begins(b"state/shares/"))?;
    left("locks", &begins(b"state/lock/"))?;
    left("stateids", &begins(b"state/stateid/"))?;
    let is_gone = |ino| !pairs.contains_key(&keys::inode(ino)[..]);
    left("removed files with handles", &|key| key::parse_handed(key).is_some_and(is_gone))?;
    left("acts that were begun", &begins(b"state/intent/"))?;
    left("tallies", &begins(b"state/tally/"))?;
    left("links from clients to state", &begins(b"state/of/"))
}

/// All replicas hold the same.
pub(crate) fn alike(replicas: &[Vec<&dyn MetaStore>]) -> Result<(), String> {
    let shards = replicas.first().map_or(0, Vec::len);
    (0..shards).try_for_each(|shard| {
        let stores: Vec<&dyn MetaStore> = replicas.iter().map(|stores| stores[shard]).collect();
        alike_of_one(&stores).map_err(|what| format!("of shard {shard} {what}"))
    })
}

fn alike_of_one(stores: &[&dyn MetaStore]) -> Result<(), String> {
    let all = stores.iter().map(|store| pairs(*store)).collect::<Result<Vec<_>, _>>()?;
    for (number, other) in all.iter().enumerate().skip(1) {
        let first = &all[0];
        let differs = |key: &&Vec<u8>| first.get(*key) != other.get(*key);
        let different: BTreeSet<&Vec<u8>> = first.keys().chain(other.keys()).filter(differs).collect();
        if !different.is_empty() {
            let shown = different.iter().take(SHOWN).map(|key| {
                let (one, two) = (first.get(*key).map(Vec::as_slice), other.get(*key).map(Vec::as_slice));
                format!("\n    {}: {} and {}", key.escape_ascii(), hex(one), hex(two))
            });
            let shown: String = shown.collect();
            return Err(format!("1 and {} differ in {} keys:{shown}", number + 1, different.len()));
        }
    }
    Ok(())
}

/// Keys that differ and are shown.
const SHOWN: usize = 8;

fn hex(value: Option<&[u8]>) -> String {
    value.map_or_else(
        || "nothing".to_owned(),
        |bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    )
}
