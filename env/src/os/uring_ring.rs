//! A ring and its thread. Callers hand operations over through a bounded queue; the thread alone
//! touches the ring.
//!
//! The thread sleeps in `io_uring_enter`. A poll of an eventfd, always in the ring, wakes it;
//! callers write to it only when the thread said it was going to sleep.
//!
//! INVARIANT: an operation leaves the table only when the kernel is done with its buffers.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use bytes::Bytes;
use io_uring::{IoUring, opcode, types};
use tokio::sync::{Semaphore, oneshot};

use super::uring_operation::{Act, Next, Operation, Part};
use crate::limits::{RING_ENTRIES, RING_IN_FLIGHT_MAX, SUBMISSIONS_MAX};

/// User data of the wake-up read.
const WAKE: u64 = u64::MAX;

/// The callers' side; dropping it ends the thread once all operations are over.
pub(super) struct Ring {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
}

struct Shared {
    inbox: Mutex<Inbox>,
    wake: OwnedFd,
}

#[derive(Default)]
struct Inbox {
    operations: VecDeque<Operation>,
    /// The thread is, or is about to be, in `io_uring_enter`.
    asleep: bool,
    closed: bool,
}

impl Ring {
    /// Sets up a ring on a thread of its own.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        // SAFETY: takes no memory; the result is checked before use.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and has no other owner.
        let wake = unsafe { OwnedFd::from_raw_fd(fd) };
        let shared = Arc::new(Shared { inbox: Mutex::default(), wake });
        let (report, reported) = mpsc::sync_channel(1);
        let for_thread = Arc::clone(&shared);
        std::thread::Builder::new().name(format!("{name}-ring")).spawn(move || {
            // Made here: a ring with a single issuer belongs to the thread that made it.
            match set_up() {
                Ok(ring) => {
                    let _ = report.send(Ok(()));
                    Worker::new(ring, for_thread).run();
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            }
        })?;
        reported.recv().unwrap_or_else(|_| Err(io::Error::other("the ring thread died")))?;
        Ok(Self { shared, places: Arc::new(Semaphore::new(SUBMISSIONS_MAX)) })
    }

    /// Runs one operation; answers the bytes of a read, nothing for others.
    pub(super) async fn run(self: Arc<Self>, file: Arc<fs::File>, act: Act) -> io::Result<Bytes> {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("never closed");
        let (reply, answer) = oneshot::channel();
        self.shared.push(Operation::new(file, act, reply, place));
        answer.await.unwrap_or_else(|_| Err(io::Error::other("the ring is gone")))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut inbox = self.shared.inbox();
        inbox.closed = true;
        self.shared.wake_if_asleep(inbox);
    }
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, operation: Operation) {
        let mut inbox = self.inbox();
        if inbox.closed {
            return operation.answer(Err(io::Error::other("the ring is gone")));
        }
        inbox.operations.push_back(operation);
        self.wake_if_asleep(inbox);
    }

    fn wake_if_asleep(&self, mut inbox: MutexGuard<'_, Inbox>) {
        let asleep = std::mem::replace(&mut inbox.asleep, false);
        drop(inbox);
        if asleep {
            // SAFETY: takes no memory. It can only fail when the counter is near its limit: then it
            // wakes anyway.
            unsafe { libc::eventfd_write(self.wake.as_raw_fd(), 1) };
        }
    }
}

/// Asks for the cheapest ring the kernel knows, else for a plain one.
fn set_up() -> io::Result<IoUring> {
    let cheap = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_submit_all()
        .build(RING_ENTRIES);
    match cheap {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::new(RING_ENTRIES),
        answer => answer,
    }
}

/// Unwinding would free buffers that the kernel may be writing to.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// The thread's side.
struct Worker {
    ring: IoUring,
    shared: Arc<Shared>,
    table: Vec<Option<Operation>>,
    vacant: Vec<usize>,
    /// Operations whose next round waits for room in the ring.
    ready: VecDeque<usize>,
    /// Completions to come, the wake-up's not counted.
    in_flight: usize,
    wake_armed: bool,
}

impl Worker {
    fn new(ring: IoUring, shared: Arc<Shared>) -> Self {
        Self {
            ring,
            shared,
            table: Vec::new(),
            vacant: Vec::new(),
            ready: VecDeque::new(),
            in_flight: 0,
            wake_armed: false,
        }
    }

    fn run(mut self) {
        let _guard = AbortOnPanic;
        loop {
            let closed = self.take_inbox();
            if closed && self.in_flight == 0 && self.ready.is_empty() {
                return;
            }
            if !self.wake_armed {
                self.arm_wake();
            }
            self.submit_ready();
            // The wake-up is in the ring: a push from now on ends this wait.
            if let Err(error) = self.ring.submit_and_wait(1) {
                match error.raw_os_error() {
                    Some(libc::EINTR | libc::EAGAIN | libc::EBUSY) => {}
                    _ => return self.give_up(&error),
                }
            }
            self.take_completions();
        }
    }

    /// Moves new operations into the table. Says whether no more will come.
    fn take_inbox(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut inbox = shared.inbox();
        while let Some(operation) = inbox.operations.pop_front() {
            let index = self.vacant.pop().unwrap_or_else(|| {
                self.table.push(None);
                self.table.len() - 1
            });
            self.table[index] = Some(operation);
            self.ready.push_back(index);
        }
        // Callers now wake us: what they push after this unlock is seen by the next turn.
        inbox.asleep = true;
        inbox.closed
    }

    fn arm_wake(&mut self) {
        let fd = types::Fd(self.shared.wake.as_raw_fd());
        let events = u32::try_from(libc::POLLIN).expect("a small constant");
        let entry = opcode::PollAdd::new(fd, events).build().user_data(WAKE);
        // SAFETY: the entry points to no memory, and the eventfd is open as long as the ring.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        self.wake_armed = pushed.is_ok();
    }

    fn on_wake(&mut self) {
        self.wake_armed = false;
        let mut count = 0;
        // SAFETY: `count` is a live number of the type the call fills. It does not block, and a
        // failure means that there was nothing to take back.
        unsafe { libc::eventfd_read(self.shared.wake.as_raw_fd(), &raw mut count) };
    }

    /// Starts rounds as long as there is room.
    fn submit_ready(&mut self) {
        while self.in_flight + 2 <= RING_IN_FLIGHT_MAX {
            let Some(index) = self.ready.pop_front() else { return };
            if self.free_entries() < 2 {
                // A failure here shows again when the thread waits.
                let _ = self.ring.submit();
            }
            if self.free_entries() < 2 {
                return self.ready.push_front(index);
            }
            let operation = self.table[index].as_mut().expect("what is ready is in the table");
            let (first, second) = operation.begin(|part| user_data(index, part));
            for entry in [Some(first), second].into_iter().flatten() {
                // SAFETY: what the entry points to belongs to the operation, which stays in the
                // table until its last completion; its buffers are on the heap and do not move with
                // it.
                let pushed = unsafe { self.ring.submission().push(&entry) };
                assert!(pushed.is_ok(), "there was room for two");
                self.in_flight += 1;
            }
        }
    }

    fn free_entries(&mut self) -> usize {
        let submission = self.ring.submission();
        submission.capacity() - submission.len()
    }

    fn take_completions(&mut self) {
        let completions: Vec<(u64, i32)> =
            self.ring.completion().map(|completion| (completion.user_data(), completion.result())).collect();
        for (data, result) in completions {
            if data == WAKE {
                self.on_wake();
                continue;
            }
            self.in_flight -= 1;
            let (index, part) = from_user_data(data);
            let operation = self.table[index].as_mut().expect("the table keeps it until its last completion");
            match operation.complete(part, result) {
                Next::Wait => {}
                Next::Again => self.ready.push_back(index),
                Next::Done(result) => {
                    self.vacant.push(index);
                    if let Some(operation) = self.table[index].take() {
                        operation.answer(result);
                    }
                }
            }
        }
    }

    /// The ring answers nothing any more. The kernel may still use the buffers, so they are leaked.
    fn give_up(mut self, why: &io::Error) {
        let mut inbox = self.shared.inbox();
        inbox.closed = true;
        let queued: Vec<Operation> = inbox.operations.drain(..).collect();
        drop(inbox);
        for operation in queued {
            operation.answer(Err(io::Error::other(format!("the ring failed: {why}"))));
        }
        for operation in self.table.iter_mut().filter_map(Option::take) {
            operation.abandon();
        }
        std::mem::forget(self);
    }
}

fn user_data(index: usize, part: Part) -> u64 {
    2 * index as u64 + u64::from(part == Part::Sync)
}

fn from_user_data(data: u64) -> (usize, Part) {
    let index = usize::try_from(data / 2).expect("an index of the table");
    (index, if data.is_multiple_of(2) { Part::Transfer } else { Part::Sync })
}
