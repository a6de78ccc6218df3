//! What metadata servers said of layouts, and the questions that wait.

use std::collections::HashSet;

use env::Entropy;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire_nfs::control::limits::HELD_MAX;

use super::{Holders, Question};
use crate::limits::QUESTIONS_MAX;

/// What was said, and what is to be asked.
pub(crate) struct Holding {
    pub(crate) holders: Holders,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) wanted: Notify,
    pub(crate) answered: Notify,
}

#[derive(Default)]
pub(crate) struct Queue {
    /// Waiting or being asked.
    pub(crate) open: HashSet<Question>,
    pub(crate) waiting: Vec<Question>,
}

impl Holding {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let holders = Holders::new(entropy);
        Self { holders, queue: Mutex::default(), wanted: Notify::new(), answered: Notify::new() }
    }

    /// Has a question asked; `false` if too many wait.
    pub(crate) fn want(&self, question: Question) -> bool {
        let mut queue = self.queue.lock();
        if queue.open.contains(&question) {
            return true;
        }
        if QUESTIONS_MAX <= queue.open.len() {
            return false;
        }
        queue.open.insert(question);
        queue.waiting.push(question);
        drop(queue);
        self.wanted.notify_one();
        true
    }

    pub(crate) fn take(&self) -> Vec<Question> {
        let mut queue = self.queue.lock();
        let count = queue.waiting.len().min(HELD_MAX);
        queue.waiting.drain(..count).collect()
    }

    pub(crate) fn close(&self, batch: &[Question]) {
        let mut queue = self.queue.lock();
        for question in batch {
            queue.open.remove(question);
        }
    }
}
