//! Is there an order of what clients saw that a single thing, doing one act after another, could
//! have had?
//!
//! The search of Wing and Gong, with the states that were tried before left out (Lowe). An act
//! whose answer never came may have happened at any time after it was asked for, or not at all.
//!
//! INVARIANT: an act comes before another in the order if it was answered before the other was
//! asked for.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

use crate::limits::SEARCH_STATES_MAX;

/// An act of a client on the thing.
#[derive(Clone, Debug)]
pub(crate) struct Acted<A, R> {
    pub(crate) client: usize,
    pub(crate) asked_ns: u64,
    /// When it was answered, and what; `None` if that is not known.
    pub(crate) answer: Option<(u64, R)>,
    pub(crate) act: A,
}

/// The thing as it should be.
pub(crate) trait Model {
    type State: Clone + Eq + Hash + Debug;
    type Act: Debug + Clone;
    type Answer: Debug + Clone;

    fn begin(&self) -> Self::State;

    /// The state behind an act that had this answer (`None`: not known, but it was carried out);
    /// `None` if it cannot have had it. `number` is the act's own.
    fn step(
        &self,
        state: &Self::State,
        number: usize,
        act: &Self::Act,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;

    /// Whether an act with this answer changes nothing, whatever the state.
    fn changes_nothing(&self, act: &Self::Act, answer: &Self::Answer) -> bool;
}

/// What the search found.
#[derive(Debug)]
pub(crate) enum Verdict {
    Holds,
    Broken(String),
    /// Too many orders to try; how far the search came.
    TooHard(String),
}

struct Frame<S> {
    state: S,
    done: Vec<u64>,
    /// Acts with an answer among those that are done.
    depth: usize,
    choices: Vec<usize>,
}

/// Searches for an order.
pub(crate) fn check<M: Model>(model: &M, acts: &[Acted<M::Act, M::Answer>]) -> Verdict {
    let mut order: Vec<usize> = (0..acts.len()).collect();
    order.sort_by_key(|at| acts[*at].asked_ns);
    let acts: Vec<_> = order.into_iter().map(|at| acts[at].clone()).collect();
    let answered = acts.iter().filter(|act| act.answer.is_some()).count();
    let mut seen = HashSet::new();
    let done = vec![0; acts.len().div_ceil(64)];
    let start = Frame { state: model.begin(), done, depth: 0, choices: Vec::new() };
    let mut deepest = (0, start.done.clone(), start.state.clone());
    let mut stack = vec![with_choices(model, &acts, start)];
    while let Some(frame) = stack.last_mut() {
        if frame.depth == answered {
            return Verdict::Holds;
        }
        if deepest.0 < frame.depth {
            deepest = (frame.depth, frame.done.clone(), frame.state.clone());
        }
        let Some(choice) = frame.choices.pop() else {
            stack.pop();
            continue;
        };
        let act = &acts[choice];
        let answer = act.answer.as_ref().map(|(_, answer)| answer);
        let Some(state) = model.step(&frame.state, choice, &act.act, answer) else { continue };
        let mut done = frame.done.clone();
        done[choice / 64] |= 1 << (choice % 64);
        if !seen.insert((done.clone(), state.clone())) {
            continue;
        }
        if SEARCH_STATES_MAX < seen.len() {
            return Verdict::TooHard(explain(&acts, &deepest.1, &deepest.2));
        }
        let depth = frame.depth + usize::from(answer.is_some());
        let next = with_choices(model, &acts, Frame { state, done, depth, choices: Vec::new() });
        stack.push(next);
    }
    Verdict::Broken(explain(&acts, &deepest.1, &deepest.2))
}

fn is_done(done: &[u64], at: usize) -> bool {
    done[at / 64] >> (at % 64) & 1 == 1
}

/// The acts that may come next, the best guess last.
fn with_choices<M: Model>(
    model: &M,
    acts: &[Acted<M::Act, M::Answer>],
    mut frame: Frame<M::State>,
) -> Frame<M::State> {
    let open = || (0..acts.len()).filter(|at| !is_done(&frame.done, *at));
    let end_ns =
        open().filter_map(|at| acts[at].answer.as_ref()).map(|(ns, _)| *ns).min().unwrap_or(u64::MAX);
    let mut choices: Vec<usize> = open().take_while(|at| acts[*at].asked_ns <= end_ns).collect();
    // What changes nothing and fits now can come now: it is in the way of no other.
    let free = choices.iter().copied().find(|at| {
        let act = &acts[*at];
        act.answer.as_ref().is_some_and(|(_, answer)| {
            model.changes_nothing(&act.act, answer)
                && model.step(&frame.state, *at, &act.act, Some(answer)).as_ref() == Some(&frame.state)
        })
    });
    if let Some(free) = free {
        frame.choices = vec![free];
        return frame;
    }
    choices.sort_by_key(|at| std::cmp::Reverse(acts[*at].answer.as_ref().map_or(u64::MAX, |(ns, _)| *ns)));
    frame.choices = choices;
    frame
}

fn explain<A: Debug, R: Debug>(acts: &[Acted<A, R>], done: &[u64], state: &impl Debug) -> String {
    let mut text = format!("no order goes further than to {state:?}, behind");
    let (placed, left): (Vec<_>, Vec<_>) = acts.iter().enumerate().partition(|(at, _)| is_done(done, *at));
    placed.iter().rev().take(8).rev().for_each(|(_, act)| text += &line(act));
    text += "\n  what is left begins with";
    let answered = left.iter().filter(|(_, act)| act.answer.is_some()).take(6);
    let open = left.iter().filter(|(_, act)| act.answer.is_none()).take(4);
    answered.chain(open).for_each(|(_, act)| text += &line(act));
    text
}

fn line<A: Debug, R: Debug>(acted: &Acted<A, R>) -> String {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let Acted { client, asked_ns, answer, act } = acted;
    let answer = match answer {
        Some((ns, answer)) => format!("{answer:?} at {:.6}", seconds(*ns)),
        None => "?".to_owned(),
    };
    format!("\n    client {client} at {:.6}: {act:?} -> {answer}", seconds(*asked_ns))
}
