//! Which piece of data moves to which data server, so that each holds its fair share of all: as
//! much of the bytes as it has of the capacity.
//!
//! A decision over numbers, nothing else. The caller brings the servers first, then the pieces, one
//! [`Holding`] after the other, so no list of all pieces is held. Does not know what a piece is: an
//! image of a group, or a copy of an extent.
//!
//! INVARIANT: no move brings a server above its share, and each brings all of them together nearer
//! to their shares, by its own bytes at least. So it ends, and what was moved once is not moved
//! back.
//! Spec: docs/protocol/admin.md §6.

use crate::data_server::DataServerId;
use crate::ec::members::{Labels, Spread};
use crate::limits::{BALANCE_BEGIN_PERMILLE, BALANCE_END_PERMILLE};

/// A data server, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which one.
    pub id: DataServerId,
    /// Where it stands.
    pub labels: Labels,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// Bytes it holds that count for it, whether they can be moved or not.
    pub held_bytes: u64,
    /// It may get more.
    pub takes: bool,
}

/// One piece of data where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The data server that holds it.
    pub on: DataServerId,
    /// How large it is.
    pub bytes: u64,
    /// It may be moved.
    pub moves: bool,
}

/// Pieces of which no two may be on one server: the images of a group, the copies of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding<'a> {
    /// All of them.
    pub pieces: &'a [Piece],
    /// As many may stand in one zone, rack or host: what may be lost. More only where there were
    /// more before.
    pub together: usize,
}

/// One piece moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which piece of the holding.
    pub piece: usize,
    /// Where it is.
    pub from: DataServerId,
    /// Where it should be.
    pub to: DataServerId,
    /// How large it is.
    pub bytes: u64,
}

/// The servers, and what each holds when all that was proposed is done.
#[derive(Clone, Debug)]
pub struct Balance {
    /// By id.
    holders: Vec<Holder>,
    /// The fair share of each, bytes.
    shares: Vec<u64>,
    /// The server has given something: it gets nothing, though it may be below its share by half a
    /// piece.
    gave: Vec<bool>,
}

impl Balance {
    /// Looks at the servers. `None` if there is nothing to be done: the fullest and the emptiest
    /// differ by too little, in parts of their capacity. As long as it is `under_way`, less of a
    /// difference is enough than to begin with.
    #[must_use]
    pub fn new(mut holders: Vec<Holder>, under_way: bool) -> Option<Self> {
        holders.retain(|holder| 0 < holder.capacity_bytes);
        holders.sort_unstable_by_key(|holder| holder.id);
        holders.dedup_by_key(|holder| holder.id);
        let enough = if under_way { BALANCE_END_PERMILLE } else { BALANCE_BEGIN_PERMILLE };
        if difference_permille(&holders) <= enough {
            return None;
        }
        let sum = |of: fn(&Holder) -> u64| holders.iter().map(|holder| u128::from(of(holder))).sum::<u128>();
        let (held, capacity) = (sum(|holder| holder.held_bytes), sum(|holder| holder.capacity_bytes));
        let share = |holder: &Holder| {
            let share = u128::from(holder.capacity_bytes) * held / capacity;
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        let shares: Vec<u64> = holders.iter().map(share).collect();
        debug_assert!(holders.is_sorted_by(|one, next| one.id < next.id), "by id, each once");
        debug_assert!(
            shares.iter().map(|share| u128::from(*share)).sum::<u128>() <= held,
            "fair shares give out no more bytes than there are"
        );
        let gave = vec![false; holders.len()];
        Some(Self { holders, shares, gave })
    }

    /// Proposes a move of one piece of these, the one on the server that is fullest to the one that
    /// is emptiest and may have it, and takes it for done. `None` if all of them are best where
    /// they are.
    #[must_use]
    pub fn step(&mut self, holding: &Holding<'_>) -> Option<Move> {
        let mut givers: Vec<(u64, usize, usize)> = Vec::new();
        for (at, piece) in
            holding.pieces.iter().enumerate().filter(|(_, piece)| piece.moves && 0 < piece.bytes)
        {
            let Some(giver) = self.find(piece.on) else { continue };
            let above = self.holders[giver].held_bytes.saturating_sub(self.shares[giver]);
            // Half of it is nearer to the share than none.
            if piece.bytes.div_ceil(2) <= above {
                givers.push((self.permille_of(giver, above), at, giver));
            }
        }
        givers.sort_unstable_by(|(a, ..), (b, ..)| b.cmp(a));
        let (_, at, giver, taker) = givers.into_iter().find_map(|(fullness, at, giver)| {
            let taker = self.taker(holding, at)?;
            Some((fullness, at, giver, taker))
        })?;
        let Piece { on, bytes, .. } = holding.pieces[at];
        assert!(giver != taker, "a move leads to another server");
        self.holders[giver].held_bytes -= bytes;
        self.gave[giver] = true;
        self.holders[taker].held_bytes += bytes;
        assert!(self.holders[taker].held_bytes <= self.shares[taker], "no move exceeds a share");
        Some(Move { piece: at, from: on, to: self.holders[taker].id, bytes })
    }

    /// Whether a server holds more than its share.
    #[must_use]
    pub fn gives(&self, id: DataServerId) -> bool {
        self.find(id).is_some_and(|at| self.shares[at] < self.holders[at].held_bytes)
    }

    /// Whether a server may get anything.
    #[must_use]
    pub fn takes(&self, id: DataServerId) -> bool {
        self.find(id)
            .is_some_and(|at| self.holders[at].takes && self.holders[at].held_bytes < self.shares[at])
    }

    /// The emptiest server that may have a piece.
    fn taker(&self, holding: &Holding<'_>, at: usize) -> Option<usize> {
        let bytes = holding.pieces[at].bytes;
        let before = self.spread(holding, None);
        let missing = |taker: usize| self.shares[taker].saturating_sub(self.holders[taker].held_bytes);
        let mut takers: Vec<usize> = (0..self.holders.len())
            .filter(|taker| self.holders[*taker].takes && !self.gave[*taker] && bytes <= missing(*taker))
            .filter(|taker| holding.pieces.iter().all(|piece| piece.on != self.holders[*taker].id))
            .collect();
        takers.sort_by_key(|taker| std::cmp::Reverse(self.permille_of(*taker, missing(*taker))));
        takers.into_iter().find(|taker| {
            let after = self.spread(holding, Some((at, *taker)));
            let kept = |after: usize, before: usize| after <= before.max(holding.together);
            kept(after.zone, before.zone) && kept(after.rack, before.rack) && kept(after.host, before.host)
        })
    }

    /// How a holding is spread, or would be with one piece elsewhere.
    fn spread(&self, holding: &Holding<'_>, moved: Option<(usize, usize)>) -> Spread {
        let place = |(at, piece): (usize, &Piece)| match moved {
            Some((moved, to)) if moved == at => Some(to),
            Some(_) | None => self.find(piece.on),
        };
        let places = holding.pieces.iter().enumerate().filter_map(place);
        Spread::of(places.map(|at| &self.holders[at].labels))
    }

    fn find(&self, id: DataServerId) -> Option<usize> {
        self.holders.binary_search_by_key(&id, |holder| holder.id).ok()
    }

    fn permille_of(&self, at: usize, bytes: u64) -> u64 {
        permille(bytes, self.holders[at].capacity_bytes)
    }
}

/// How much the fullest and the emptiest server differ, in thousandths of their capacity. One that
/// takes nothing is not the emptiest.
#[must_use]
pub fn difference_permille(holders: &[Holder]) -> u64 {
    let fill = |holder: &Holder| permille(holder.held_bytes, holder.capacity_bytes);
    let most = holders.iter().map(fill).max().unwrap_or(0);
    let least = holders.iter().filter(|holder| holder.takes).map(fill).min();
    least.map_or(0, |least| most.saturating_sub(least))
}

fn permille(bytes: u64, capacity_bytes: u64) -> u64 {
    let part = u128::from(bytes) * 1000 / u128::from(capacity_bytes.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
