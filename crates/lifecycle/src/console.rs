//! Lines for people on stderr that can neither fail nor hang: a closed pipe must not turn a stop into a panic, which
//! `eprintln!` would do, and a full one must not keep the control thread from hearing the next signal.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::sync::atomic::{AtomicBool, Ordering};

/// The longest piece that a pipe which is ready takes without blocking (PIPE_BUF).
const PIECE_MAX: usize = 4096;
/// How long a reader that does not keep up may hold us, per piece.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Is each line one JSON object?
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// From here on each line is one JSON object, or is not.
pub fn set_console_json(is_json: bool) {
    IS_JSON.store(is_json, Ordering::Relaxed);
}

/// Writes one line to stderr. What cannot be written is dropped, because there is nowhere left to tell of it.
pub fn console_line(line: &str) {
    let mut text = String::with_capacity(line.len() + 1);
    if IS_JSON.load(Ordering::Relaxed) {
        text.push_str(&serde_json::json!({ "level": "INFO", "message": line }).to_string());
    } else {
        text.push_str(line);
    }
    text.push('\n');
    // Past the standard library's lock: whoever holds it may be stuck in a write that nobody reads.
    let stderr = rustix::stdio::stderr();
    for piece in text.as_bytes().chunks(PIECE_MAX) {
        let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
        let writable = poll(&mut ready, Some(&PATIENCE)).is_ok_and(|count| count > 0);
        if !writable || !write_whole(stderr, piece) {
            return;
        }
    }
}

fn write_whole(stderr: rustix::fd::BorrowedFd<'_>, mut piece: &[u8]) -> bool {
    while !piece.is_empty() {
        match rustix::io::write(stderr, piece) {
            Ok(written) => piece = piece.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
