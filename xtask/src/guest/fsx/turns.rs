//! Whose turn it is where two guests use one file: a connection between them, outside the mount.
//!
//! Both draw the same operations from the same seed, so all that is sent is the turn itself, one
//! byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The guests are started one after the other.
const CONNECT_MAX: Duration = Duration::from_secs(30);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

const GO: u8 = b'g';
const ANOTHER_FILE: u8 = b'f';
const END: u8 = b'e';

/// The turn, and the other guest.
#[derive(Debug)]
pub(super) struct Turns {
    peer: Option<TcpStream>,
    holding: bool,
    /// This guest's number: 0 has the first turn, and decides when the run ends.
    pub(super) guest: u8,
}

impl Turns {
    /// There is one guest; its turn never ends.
    pub(super) fn alone() -> Self {
        Self { peer: None, holding: true, guest: 0 }
    }

    /// Waits for guest 0 at this address.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(super) fn listen(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        Self::accept(&listener)
    }

    fn accept(listener: &TcpListener) -> Result<Self> {
        let (peer, _) = listener.accept()?;
        peer.set_nodelay(true)?;
        Ok(Self { peer: Some(peer), holding: false, guest: 1 })
    }

    /// Connects to guest 1, which may still be starting.
    ///
    /// # Errors
    /// When it is not there in time.
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let began = Instant::now();
        loop {
            match TcpStream::connect_timeout(&address, BETWEEN_TRIES * 10) {
                Ok(peer) => {
                    peer.set_nodelay(true)?;
                    return Ok(Self { peer: Some(peer), holding: true, guest: 0 });
                }
                Err(error) if CONNECT_MAX < began.elapsed() => {
                    return Err(error).with_context(|| format!("no other guest at {address}"));
                }
                Err(_) => std::thread::sleep(BETWEEN_TRIES),
            }
        }
    }

    /// Whether it is this guest's turn.
    pub(super) fn is_holding(&self) -> bool {
        self.holding
    }

    /// Waits for this guest's turn; whether the other guest had it until now.
    ///
    /// # Errors
    /// When the other guest has ended.
    pub(super) fn take(&mut self) -> Result<bool> {
        if self.holding {
            return Ok(false);
        }
        match self.receive()? {
            GO => self.holding = true,
            other => bail!("the other guest sent {other:?} instead of the turn"),
        }
        Ok(true)
    }

    /// Gives the turn to the other guest.
    ///
    /// # Errors
    /// When the other guest has ended.
    pub(super) fn give(&mut self) -> Result<()> {
        if std::mem::take(&mut self.holding) {
            self.send(GO)?;
        }
        Ok(())
    }

    /// After a file: whether another one follows. Guest 0 decides by `more`.
    ///
    /// # Errors
    /// When the other guest has ended.
    pub(super) fn agree(&mut self, more: impl FnOnce() -> bool) -> Result<bool> {
        if self.guest == 0 {
            let more = more();
            if self.peer.is_some() {
                self.send(if more { ANOTHER_FILE } else { END })?;
            }
            return Ok(more);
        }
        match self.receive()? {
            ANOTHER_FILE => Ok(true),
            END => Ok(false),
            other => bail!("the other guest sent {other:?} at the end of a file"),
        }
    }

    fn peer(&mut self) -> Result<&mut TcpStream> {
        self.peer.as_mut().context("one guest alone has every turn")
    }

    fn send(&mut self, word: u8) -> Result<()> {
        self.peer()?.write_all(&[word]).context("the other guest has ended")
    }

    fn receive(&mut self) -> Result<u8> {
        let mut word = [0];
        self.peer()?.read_exact(&mut word).context("the other guest has ended")?;
        Ok(word[0])
    }
}

#[cfg(test)]
mod tests {
    use super::{TcpListener, Turns};

    #[test]
    fn the_turn_passes_and_the_end_is_agreed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let second = std::thread::spawn(move || {
            let mut turns = Turns::accept(&listener).unwrap();
            assert!(!turns.is_holding());
            assert!(turns.take().unwrap());
            assert!(!turns.take().unwrap());
            turns.give().unwrap();
            assert!(turns.agree(|| panic!("guest 0 decides")).unwrap());
            turns.take().unwrap();
            turns.give().unwrap();
            turns.agree(|| true).unwrap()
        });
        let mut first = Turns::connect(address).unwrap();
        for more in [true, false] {
            first.give().unwrap();
            first.take().unwrap();
            assert_eq!(first.agree(|| more).unwrap(), more);
        }
        assert!(!second.join().unwrap());
        first.give().ok();
        assert!(first.take().is_err(), "the other one has ended");
    }
}
