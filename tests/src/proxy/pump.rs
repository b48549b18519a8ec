//! Moves the bytes of one direction of one connection: a reader that stops when too much is under way, and a writer
//! that delivers when it is time.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::Direction;
use super::faults::Faults;

/// Small enough that a bandwidth limit is smooth, large enough to cost little.
const CHUNK: usize = 16 << 10;

/// Bytes under way: read, not yet delivered.
#[derive(Default)]
struct Queue {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// The reader saw the end of the stream.
    finished: bool,
    /// The writer gave up; reading on is pointless.
    broken: bool,
}

/// Runs until the stream ends or the connection is cut.
pub(super) fn run(from: &TcpStream, to: &TcpStream, direction: Direction, faults: &Faults, id: u64) {
    let queue = Mutex::new(Queue::default());
    let changed = Condvar::new();
    scope(|scope| {
        scope.spawn(|| read(from, direction, faults, &queue, &changed));
        let ended = write(to, direction, faults, id, &queue, &changed);
        queue.lock().unwrap_or_else(PoisonError::into_inner).broken = true;
        changed.notify_all();
        if ended == Ended::Stream {
            // The sender closed its half: pass that on, the other half may still flow.
            let _ = to.shutdown(Shutdown::Write);
        } else {
            faults.close(id);
        }
    });
}

#[derive(PartialEq, Eq)]
enum Ended {
    Stream,
    Connection,
}

fn read(mut from: &TcpStream, direction: Direction, faults: &Faults, queue: &Mutex<Queue>, changed: &Condvar) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let bound = faults.quietly(|state| state.lane(direction).in_flight);
        let full = |queue: &mut Queue| queue.bytes >= bound && !queue.broken;
        let guard = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let guard = changed.wait_while(guard, full).unwrap_or_else(PoisonError::into_inner);
        if guard.broken {
            return;
        }
        drop(guard);
        let read = from.read(&mut buffer).unwrap_or(0);
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        if read == 0 {
            queue.finished = true;
        } else {
            queue.bytes += read;
            queue.chunks.push_back((Instant::now(), buffer[..read].to_vec()));
        }
        drop(queue);
        changed.notify_all();
        if read == 0 {
            return;
        }
    }
}

fn write(
    to: &TcpStream,
    direction: Direction,
    faults: &Faults,
    id: u64,
    queue: &Mutex<Queue>,
    changed: &Condvar,
) -> Ended {
    let mut frames = Frames::default();
    let mut cut_in: Option<u64> = None;
    let mut next_free = Instant::now();
    loop {
        let waiting = |queue: &mut Queue| queue.chunks.is_empty() && !queue.finished;
        let guard = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut guard = changed.wait_while(guard, waiting).unwrap_or_else(PoisonError::into_inner);
        let Some((arrived, chunk)) = guard.chunks.pop_front() else { return Ended::Stream };
        drop(guard);

        let (delay, bandwidth) = faults.quietly(|state| (state.lane(direction).delay, state.lane(direction).bandwidth));
        sleep((arrived + delay).saturating_duration_since(Instant::now()));
        if let Some(bandwidth) = bandwidth {
            sleep(next_free.saturating_duration_since(Instant::now()));
            let cost = Duration::from_secs_f64(chunk.len() as f64 / bandwidth.max(1) as f64);
            next_free = next_free.max(Instant::now()) + cost;
        }
        if !faults.wait_unstalled(direction, id) {
            return Ended::Connection;
        }
        let mut rest = chunk.as_slice();
        while !rest.is_empty() {
            if frames.at_start() && cut_in.is_none() {
                let (garbage, close_after) = faults.quietly(|state| {
                    let lane = state.lane(direction);
                    (lane.garbage.take(), lane.close_after.take())
                });
                cut_in = close_after;
                if garbage.is_some_and(|garbage| deliver(to, &garbage, direction, faults).is_err()) {
                    return Ended::Connection;
                }
            }
            let mut piece = frames.piece(rest);
            if let Some(left) = cut_in {
                piece = piece.min(usize::try_from(left).unwrap_or(usize::MAX));
            }
            if deliver(to, &rest[..piece], direction, faults).is_err() {
                return Ended::Connection;
            }
            frames.advance(&rest[..piece]);
            rest = &rest[piece..];
            if let Some(left) = &mut cut_in {
                *left = left.saturating_sub(u64::try_from(piece).unwrap());
                if *left == 0 {
                    return Ended::Connection;
                }
            }
        }
        queue.lock().unwrap_or_else(PoisonError::into_inner).bytes -= chunk.len();
        changed.notify_all();
    }
}

fn deliver(mut to: &TcpStream, bytes: &[u8], direction: Direction, faults: &Faults) -> std::io::Result<()> {
    to.write_all(bytes)?;
    faults.quietly(|state| state.lane(direction).delivered += u64::try_from(bytes.len()).unwrap());
    Ok(())
}

/// Where in the stream of length-prefixed frames the next byte is.
#[derive(Default)]
struct Frames {
    prefix: Vec<u8>,
    left: u64,
}

impl Frames {
    fn at_start(&self) -> bool {
        self.prefix.is_empty() && self.left == 0
    }

    /// How many bytes of `bytes` lie before the next place where something may happen.
    fn piece(&self, bytes: &[u8]) -> usize {
        let wanted = if self.left > 0 { self.left } else { 4 - u64::try_from(self.prefix.len()).unwrap() };
        bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX))
    }

    fn advance(&mut self, piece: &[u8]) {
        if self.left > 0 {
            self.left -= u64::try_from(piece.len()).unwrap();
            return;
        }
        self.prefix.extend_from_slice(piece);
        if let Ok(prefix) = <[u8; 4]>::try_from(self.prefix.as_slice()) {
            self.left = u64::from(u32::from_be_bytes(prefix));
            self.prefix.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_starts_are_found_however_the_stream_is_cut() {
        let mut stream = Vec::new();
        for length in [0_u32, 1, 5, 300] {
            stream.extend(length.to_be_bytes());
            stream.extend(vec![9; usize::try_from(length).unwrap()]);
        }
        for step in [1, 2, 3, 7, 1000] {
            let mut frames = Frames::default();
            let mut starts = 0;
            for chunk in stream.chunks(step) {
                let mut rest = chunk;
                while !rest.is_empty() {
                    starts += usize::from(frames.at_start());
                    let piece = frames.piece(rest);
                    frames.advance(&rest[..piece]);
                    rest = &rest[piece..];
                }
            }
            assert_eq!((starts, frames.at_start()), (4, true), "in steps of {step}");
        }
    }
}
