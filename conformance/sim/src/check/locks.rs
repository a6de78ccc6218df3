//! No two clients may believe at the same time that they hold locks which exclude each other.
//!
//! A client believes it from the answer to LOCK until it sends LOCKU, or until its lease must have
//! run out: the lease counts from the sending of the last request that was answered.

/// A lock as its holder saw it.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) client: usize,
    pub(crate) file: usize,
    pub(crate) from_byte: u64,
    pub(crate) to_byte: u64,
    pub(crate) exclusive: bool,
    pub(crate) from_ns: u64,
    /// `None`: it was never released.
    pub(crate) until_ns: Option<u64>,
}

/// Checks all locks. `renewed_ns` has, for each client, when it sent what was answered.
pub(crate) fn check(holds: &[Hold], renewed_ns: &[Vec<u64>], lease_ns: u64) -> Result<(), String> {
    let believed: Vec<(u64, u64)> =
        holds.iter().map(|hold| believed(hold, &renewed_ns[hold.client], lease_ns)).collect();
    let mut order: Vec<usize> = (0..holds.len()).collect();
    order.sort_by_key(|at| believed[*at].0);
    for (position, one) in order.iter().enumerate() {
        for other in &order[position + 1..] {
            if believed[*one].1 <= believed[*other].0 {
                // Those behind begin later still, but an earlier one may last longer: only this
                // pair is over.
                if believed[*one].1 <= believed[*other].0 {
                    break;
                }
            }
            let (first, second) = (&holds[*one], &holds[*other]);
            let excluded = first.file == second.file
                && first.client != second.client
                && first.from_byte < second.to_byte
                && second.from_byte < first.to_byte
                && (first.exclusive || second.exclusive);
            if excluded && believed[*one].0 < believed[*one].1 && believed[*other].0 < believed[*other].1 {
                return Err(format!("granted twice: {first:?} (until {}) and {second:?}", believed[*one].1));
            }
        }
    }
    Ok(())
}

fn believed(hold: &Hold, renewed_ns: &[u64], lease_ns: u64) -> (u64, u64) {
    let until_ns = hold.until_ns.unwrap_or(u64::MAX);
    let first = renewed_ns.partition_point(|ns| *ns <= hold.from_ns).saturating_sub(1);
    let mut last_ns = renewed_ns.get(first).copied().unwrap_or(hold.from_ns);
    for ns in renewed_ns.iter().skip(first + 1) {
        if last_ns + lease_ns < *ns || until_ns <= last_ns {
            break;
        }
        last_ns = *ns;
    }
    (hold.from_ns, until_ns.min(last_ns + lease_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(client: usize, from_ns: u64, until_ns: Option<u64>) -> Hold {
        Hold { client, file: 0, from_byte: 0, to_byte: 4, exclusive: true, from_ns, until_ns }
    }

    #[test]
    fn one_behind_the_other_is_good() {
        let holds = [hold(0, 10, Some(20)), hold(1, 20, Some(30))];
        assert_eq!(check(&holds, &[vec![9], vec![19]], 100), Ok(()));
    }

    #[test]
    fn both_at_once_is_found() {
        let holds = [hold(0, 10, Some(21)), hold(1, 20, Some(30))];
        assert!(check(&holds, &[vec![9], vec![19]], 100).is_err());
        let mut shared = holds.clone();
        shared.iter_mut().for_each(|hold| hold.exclusive = false);
        assert_eq!(check(&shared, &[vec![9], vec![19]], 100), Ok(()));
    }

    #[test]
    fn belief_ends_with_the_lease() {
        let holds = [hold(0, 10, None), hold(1, 150, Some(160))];
        assert!(check(&holds, &[vec![9, 60], vec![149]], 100).is_err());
        assert_eq!(check(&holds, &[vec![9, 45], vec![149]], 100), Ok(()));
    }
}
