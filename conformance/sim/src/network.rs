//! The network between nodes: streams over links that are slow, lose packets, fall silent or are
//! cut one way.
//!
//! What TCP repairs is seen as delay, what it cannot as a reset; a stream never loses, doubles or
//! turns round its bytes. Streams overtake each other. A call is doubled by a client that sends it
//! again on another connection.
//!
//! INVARIANT: nothing is delivered across a cut link, to a host without power, or to a process that
//! has ended.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::task::Waker;

use bytes::{Buf, Bytes, BytesMut};

use crate::event_log::digest_of;
use crate::limits::{BACKLOG, RETRY_NS, STALL_NS_MAX, WINDOW_BYTES};
use crate::links::{Door, End, Pipe, Polled, Wire};
use crate::world::{Act, NodeId, State, World};

impl State {
    /// A node's process ends: at once, with its host's power or without. Its streams are not closed
    /// by it any more.
    pub(crate) fn end_process(&mut self, node: NodeId, power_too: bool) {
        self.network.hosts[node].life += 1;
        self.network.hosts[node].powered = !power_too;
        self.network.doors.retain(|_, door| door.node != node);
        if power_too {
            return;
        }
        // The host tells the other ends, as far as it reaches them.
        let ids: Vec<(u64, usize)> = self
            .network
            .streams
            .iter()
            .flat_map(|(id, wire)| {
                [(*id, 0), (*id, 1)].into_iter().filter(|(_, side)| wire.ends[*side].node == node)
            })
            .collect();
        for (id, side) in ids {
            let peer = self.network.streams[&id].ends[1 - side].node;
            if self.network.passes(node, peer) {
                self.reset_later(id, 1 - side);
            }
        }
    }

    pub(crate) fn power_on(&mut self, node: NodeId) {
        self.network.hosts[node].powered = true;
    }

    /// Breaks a stream, any of those that are open; both ends see it.
    pub(crate) fn break_stream(&mut self, pick: u64) {
        let count = self.network.streams.len() as u64;
        if count == 0 {
            return;
        }
        let at = usize::try_from(pick % count).expect("below a usize");
        let Some(id) = self.network.streams.keys().nth(at).copied() else { return };
        self.reset_later(id, 0);
        self.reset_later(id, 1);
    }

    fn reset_later(&mut self, id: u64, side: usize) {
        let node = self.network.streams[&id].ends[side].node;
        let delay_ns = self.network.delay_ns();
        self.after(delay_ns, node, Act::Do(Box::new(move |world| world.lock().reset(id, side))));
    }

    fn reset(&mut self, id: u64, side: usize) -> Vec<NodeId> {
        let now_ns = self.now_ns;
        let Some(wire) = self.network.streams.get_mut(&id) else { return Vec::new() };
        wire.pipes[side].flight.clear();
        wire.pipes[side].flight_bytes = 0;
        let end = &mut wire.ends[side];
        end.reset = true;
        let node = end.node;
        let wakers = [end.reader.take(), end.writer.take()];
        self.log.add(now_ns, node, "reset", &[id]);
        wakers.into_iter().flatten().for_each(Waker::wake);
        vec![node]
    }

    fn pump_after(&mut self, delay_ns: u64, id: u64, side: usize) {
        let node = self.network.streams[&id].ends[1 - side].node;
        self.after(delay_ns, node, Act::Do(Box::new(move |world| world.lock().pump(id, side, false))));
    }

    /// Delivers what is due from end `side` of a stream.
    fn pump(&mut self, id: u64, side: usize, again: bool) -> Vec<NodeId> {
        let now_ns = self.now_ns;
        let Some(wire) = self.network.streams.get(&id) else { return Vec::new() };
        let (from, to) = (wire.ends[side].node, wire.ends[1 - side].node);
        let passes = self.network.passes(from, to);
        let to_lives = self.network.is_alive(&wire.ends[1 - side]);
        let Some(wire) = self.network.streams.get_mut(&id) else { return Vec::new() };
        let pipe = &mut wire.pipes[side];
        if again {
            pipe.retries = false;
        }
        if pipe.flight.front().is_none_or(|(at_ns, _)| now_ns < *at_ns) {
            return Vec::new();
        }
        if !passes {
            let since_ns = *pipe.stalled_ns.get_or_insert(now_ns);
            if since_ns + STALL_NS_MAX < now_ns {
                let mut nodes = self.reset(id, 0);
                nodes.extend(self.reset(id, 1));
                return nodes;
            }
            if !pipe.retries {
                pipe.retries = true;
                self.after(RETRY_NS, to, Act::Do(Box::new(move |world| world.lock().pump(id, side, true))));
            }
            return Vec::new();
        }
        pipe.stalled_ns = None;
        let far = &mut wire.ends[1 - side];
        if !to_lives || far.reset || (!far.reads && pipe.flight.iter().any(|(_, bytes)| bytes.is_some())) {
            pipe.flight.clear();
            pipe.flight_bytes = 0;
            if self.network.is_alive(&self.network.streams[&id].ends[side]) {
                self.reset_later(id, side);
            }
            return Vec::new();
        }
        while pipe.flight.front().is_some_and(|(at_ns, _)| *at_ns <= now_ns) {
            match pipe.flight.pop_front() {
                Some((_, Some(bytes))) => {
                    pipe.flight_bytes -= bytes.len();
                    pipe.received.extend_from_slice(&bytes);
                    let words = [id, side as u64, bytes.len() as u64, digest_of(&bytes)];
                    self.log.add(now_ns, to, "net", &words);
                }
                Some((_, None)) => {
                    pipe.ended = true;
                    self.log.add(now_ns, to, "end", &[id, side as u64]);
                }
                None => {}
            }
        }
        if let Some(waker) = far.reader.take() {
            waker.wake();
        }
        vec![to]
    }

    pub(crate) fn read(
        &mut self,
        id: u64,
        side: usize,
        waker: &Waker,
        buffer: &mut BytesMut,
        bytes_max: usize,
    ) -> Polled<io::Result<usize>> {
        let Some(wire) = self.network.streams.get_mut(&id) else {
            return Polled::Ready(Err(ErrorKind::NotConnected.into()));
        };
        if wire.ends[side].reset {
            return Polled::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let pipe = &mut wire.pipes[1 - side];
        if pipe.received.is_empty() {
            if pipe.ended {
                return Polled::Ready(Ok(0));
            }
            wire.ends[side].reader = Some(waker.clone());
            return Polled::Pending;
        }
        let room = buffer.capacity() - buffer.len();
        let room = if room == 0 { bytes_max } else { room };
        let count = pipe.received.len().min(bytes_max).min(room);
        buffer.extend_from_slice(&pipe.received[..count]);
        pipe.received.advance(count);
        let writer = wire.ends[1 - side].writer.take();
        let node = wire.ends[1 - side].node;
        if let Some(writer) = writer {
            let delay_ns = self.network.delay_ns();
            let wake = move |_: &World| {
                writer.wake();
                vec![node]
            };
            self.after(delay_ns, node, Act::Do(Box::new(wake)));
        }
        Polled::Ready(Ok(count))
    }

    pub(crate) fn write(
        &mut self,
        id: u64,
        side: usize,
        waker: &Waker,
        buffers: &[io::IoSlice<'_>],
    ) -> Polled<io::Result<usize>> {
        let now_ns = self.now_ns;
        let Some(wire) = self.network.streams.get_mut(&id) else {
            return Polled::Ready(Err(ErrorKind::NotConnected.into()));
        };
        if wire.ends[side].reset {
            return Polled::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let pipe = &mut wire.pipes[side];
        let mut room = WINDOW_BYTES.saturating_sub(pipe.flight_bytes + pipe.received.len());
        if room == 0 {
            wire.ends[side].writer = Some(waker.clone());
            return Polled::Pending;
        }
        let mut taken = BytesMut::new();
        for buffer in buffers {
            let count = buffer.len().min(room);
            taken.extend_from_slice(&buffer[..count]);
            room -= count;
        }
        let count = taken.len();
        self.send(now_ns, id, side, Some(taken.freeze()));
        Polled::Ready(Ok(count))
    }

    fn send(&mut self, now_ns: u64, id: u64, side: usize, bytes: Option<Bytes>) {
        let delay_ns = self.network.delay_ns();
        let Some(wire) = self.network.streams.get_mut(&id) else { return };
        let pipe = &mut wire.pipes[side];
        let at_ns = (now_ns + delay_ns).max(pipe.last_ns);
        pipe.last_ns = at_ns;
        pipe.flight_bytes += bytes.as_ref().map_or(0, Bytes::len);
        pipe.flight.push_back((at_ns, bytes));
        self.pump_after(at_ns - now_ns, id, side);
    }

    /// One half of an end is dropped.
    pub(crate) fn drop_half(&mut self, id: u64, side: usize, writes: bool) {
        let now_ns = self.now_ns;
        let Some(wire) = self.network.streams.get_mut(&id) else { return };
        let end = &mut wire.ends[side];
        if writes {
            end.writes = false
        } else {
            end.reads = false
        }
        let was_reset = end.reset;
        let lives = self.network.is_alive(&self.network.streams[&id].ends[side]);
        if writes && lives && !was_reset {
            self.send(now_ns, id, side, None);
        }
        let gone = self.network.streams.get(&id).is_some_and(|wire| {
            let over = |end: &End| !self.network.is_alive(end) || !(end.reads || end.writes);
            wire.ends.iter().all(over)
        });
        if gone {
            self.network.streams.remove(&id);
        }
    }

    pub(crate) fn listen(&mut self, node: NodeId, addr: SocketAddr) -> io::Result<()> {
        if self.network.doors.contains_key(&addr) {
            return Err(ErrorKind::AddrInUse.into());
        }
        self.network.doors.insert(addr, Door { node, waiting: VecDeque::new(), waker: None });
        Ok(())
    }

    pub(crate) fn close_door(&mut self, node: NodeId, life: u32, addr: SocketAddr) {
        if self.network.life(node) != life {
            return;
        }
        let Some(door) = self.network.doors.remove(&addr) else { return };
        for id in door.waiting {
            if self.network.streams.contains_key(&id) {
                self.reset_later(id, 0);
            }
        }
    }

    pub(crate) fn accept(&mut self, addr: SocketAddr, waker: &Waker) -> Polled<(u64, SocketAddr)> {
        let Some(door) = self.network.doors.get_mut(&addr) else { return Polled::Pending };
        match door.waiting.pop_front() {
            Some(id) => match self.network.streams.get(&id) {
                Some(wire) => Polled::Ready((id, wire.ends[0].addr)),
                None => self.accept(addr, waker),
            },
            None => {
                door.waker = Some(waker.clone());
                Polled::Pending
            }
        }
    }

    /// Whether a first packet arrives now; `None` if there is no such host at all.
    pub(crate) fn reaches(&self, from: NodeId, addr: SocketAddr) -> Option<bool> {
        let to = self.network.host_of(addr)?;
        Some(self.network.passes(from, to))
    }

    pub(crate) fn answers(&self, from: NodeId, addr: SocketAddr) -> bool {
        self.network.host_of(addr).is_some_and(|to| self.network.passes(to, from))
    }

    /// Opens a stream at its far end: the number of the stream, and our address.
    pub(crate) fn open(&mut self, from: NodeId, addr: SocketAddr) -> io::Result<(u64, SocketAddr)> {
        let refused = || io::Error::from(ErrorKind::ConnectionRefused);
        let to = self.network.host_of(addr).ok_or_else(refused)?;
        let life = (self.network.life(from), self.network.life(to));
        let id = self.network.stream_next;
        let door = self.network.doors.get_mut(&addr).ok_or_else(refused)?;
        if BACKLOG <= door.waiting.len() {
            return Err(refused());
        }
        door.waiting.push_back(id);
        let waker = door.waker.take();
        self.network.stream_next += 1;
        let port = u16::try_from(10_000 + id % 50_000).expect("below 60000");
        let own = crate::address(from, port);
        let end = |node, life, addr| End {
            node,
            life,
            addr,
            reads: true,
            writes: true,
            reset: false,
            reader: None,
            writer: None,
        };
        let ends = [end(from, life.0, own), end(to, life.1, addr)];
        self.network.streams.insert(id, Wire { ends, pipes: [Pipe::default(), Pipe::default()] });
        if let Some(waker) = waker {
            let wake = move |_: &World| {
                waker.wake();
                vec![to]
            };
            self.after(0, to, Act::Do(Box::new(wake)));
        }
        let now_ns = self.now_ns;
        self.log.add(now_ns, from, "open", &[id, to as u64]);
        Ok((id, own))
    }
}
