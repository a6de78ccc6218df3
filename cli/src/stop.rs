//! How a server is told to stop: SIGINT or SIGTERM once, in order; twice, at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What a shell shows for a process that a signal ended is 128 and its number.
const SIGNAL_EXIT_BASE: i32 = 128;

/// Tells when the first signal has come.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// Begins to listen for signals. From the second one on the process ends without ceremony:
    /// everything that was acknowledged as stable is so already.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn on_signals() -> std::io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (sender, asked) = watch::channel(false);
        tokio::spawn(listen(interrupt, terminate, sender));
        Ok(Self { asked })
    }

    /// Returns once a stop was asked for.
    pub(crate) async fn asked(&mut self) {
        // The sender lives in a task that ends with the process.
        let _ = self.asked.wait_for(|asked| *asked).await;
    }
}

async fn listen(mut interrupt: Signal, mut terminate: Signal, sender: watch::Sender<bool>) {
    loop {
        let kind = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
        };
        if sender.send_replace(true) {
            eprintln!("shoal: second signal, leaving at once");
            std::process::exit(SIGNAL_EXIT_BASE + kind.as_raw_value());
        }
        tracing::info!("stopping; a second signal leaves at once");
    }
}
