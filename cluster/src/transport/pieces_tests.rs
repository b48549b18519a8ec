use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_core::ids::NodeId;
use proptest::prelude::{any, prop, proptest};

use super::{Assembler, Assemblies, Frame, Progress, Splitter};

const LIMIT: Duration = Duration::from_secs(10);

fn assembler(assemblies: &Arc<Assemblies>, peer: u64) -> Assembler {
    Assembler::new(Arc::clone(assemblies), NodeId(peer))
}

fn feed(assembler: &mut Assembler, frame: &Frame) -> Progress {
    let Frame::Piece { message, index, total_bytes, bytes } = frame else { panic!("{frame:?}") };
    assembler.take(*message, *index, *total_bytes, bytes)
}

fn given_up(progress: &Progress) -> bool {
    matches!(progress, Progress::GivenUp(_))
}

proptest! {
    #[test]
    fn a_message_comes_back_as_it_was_cut(
        bytes in prop::collection::vec(any::<u8>(), 1..2_000),
        piece in 1_usize..300,
    ) {
        let mut assembler = assembler(&Assemblies::new(2_000, LIMIT), 1);
        let pieces: Vec<Frame> = Splitter::new(7, Bytes::from(bytes.clone()), piece).collect();
        assert_eq!(pieces.len(), bytes.len().div_ceil(piece));
        let (last, others) = pieces.split_last().unwrap();
        for frame in others {
            assert_eq!(feed(&mut assembler, frame), Progress::More);
        }
        assert_eq!(feed(&mut assembler, last), Progress::Whole(bytes));
    }

    #[test]
    fn any_pieces_stay_within_the_bound(
        pieces in prop::collection::vec((0_u64..3, 0_u32..4, 0_u64..60, prop::collection::vec(any::<u8>(), 0..30)), 0..40),
    ) {
        let assemblies = Assemblies::new(50, LIMIT);
        let mut assembler = assembler(&assemblies, 1);
        for (message, index, total, bytes) in pieces {
            if let Progress::Whole(whole) = assembler.take(message, index, total, &bytes) {
                assert!(whole.len() <= 50);
            }
            assert!(assembler.current.as_ref().is_none_or(|current| current.bytes.len() <= 50));
            assert_eq!(assemblies.budget.used().count, usize::from(assembler.current.is_some()));
        }
    }
}

#[test]
fn wrong_pieces_give_a_message_up_and_the_next_message_is_taken() {
    let mut assembler = assembler(&Assemblies::new(100, LIMIT), 1);
    assert!(given_up(&assembler.take(1, 0, 101, b"x")), "larger than allowed");
    assert!(given_up(&assembler.take(1, 0, 0, b"")), "empty");
    assert_eq!(assembler.take(1, 1, 10, b"x"), Progress::More, "of a message that was given up");
    assert_eq!(assembler.take(2, 0, 3, b"a"), Progress::More);
    assert!(given_up(&assembler.take(2, 2, 3, b"c")), "one is missing");
    assert_eq!(assembler.take(3, 0, 3, b"a"), Progress::More);
    assert!(given_up(&assembler.take(3, 1, 3, b"bcd")), "more than the message");
    assert_eq!(assembler.take(4, 0, 3, b"a"), Progress::More);
    assert_eq!(assembler.take(5, 0, 2, b"ab"), Progress::Whole(b"ab".to_vec()), "the sender left 4 unfinished");
}

#[test]
fn one_message_at_a_time_for_each_peer_and_all_share_one_bound() {
    let assemblies = Assemblies::new(100, LIMIT);
    let (mut first, mut again) = (assembler(&assemblies, 1), assembler(&assemblies, 1));
    let mut other = assembler(&assemblies, 2);
    assert_eq!(first.take(1, 0, 60, b"a"), Progress::More);
    assert!(given_up(&again.take(1, 0, 10, b"a")), "the peer has a message on another connection");
    assert!(given_up(&other.take(1, 0, 50, b"a")), "the bound of all");
    assert_eq!(other.take(2, 0, 40, b"a"), Progress::More);
    drop(first);
    assert_eq!(again.take(2, 0, 60, b"a"), Progress::More);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_takes_too_long_is_given_up() {
    let mut assembler = assembler(&Assemblies::new(100, LIMIT), 1);
    assert_eq!(assembler.take(1, 0, 10, b"a"), Progress::More);
    assert!(assembler.expire().is_none());
    tokio::time::sleep_until(assembler.deadline().unwrap()).await;
    assert_eq!(assembler.expire(), Some((1, "the message took too long")));
    assert_eq!(assembler.deadline(), None);
}
