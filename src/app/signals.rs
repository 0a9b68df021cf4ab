//! A queue's or a user's wish that the job stop: SIGUSR1 and SIGTERM raise a hand, which the next reduction carries to all.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGTERM, SIGUSR1};

/// From here on these signals do not end this process: they raise the hand. Collective: no.
pub fn catch() -> Arc<AtomicBool> {
    let hand = Arc::new(AtomicBool::new(false));
    for signal in [SIGUSR1, SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, hand.clone()) {
            tracing::warn!("signal {signal} cannot be caught: {error}; it will end the job without a checkpoint");
        }
    }
    hand
}
