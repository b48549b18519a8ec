//! How messages are copied: sizes and waits that hold for every stream of a node.
//!
//! The defaults are what a node runs with when its configuration says nothing. Sizes are bytes of stored or encoded
//! messages, in memory.

use std::time::Duration;

/// What is waited for before the tail is read that an owner left which did not let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Takeover {
    /// Until everything that it handed to its kernel has arrived or was dropped.
    #[default]
    Usual,
    /// Also until brokers have closed the connections on which it went silent, 120 s after its last byte: an owner that
    /// stood still for longer than its lease finds none to go on with.
    Strict,
}

/// The settings of the data path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicateSettings {
    /// A batch is closed when its encoded messages reach this. 1 MiB makes the cost of a request vanish against that
    /// of its bytes, and keeps the broker's append lock, which a batch holds as a whole, below a millisecond or so.
    pub batch_bytes: usize,
    /// A batch is closed at this many messages: the broker answers with an identifier for each.
    pub batch_messages: usize,
    /// What one partition reads ahead of its sends, at most one pull more.
    pub read_ahead_bytes: usize,
    /// What all partitions of the node read ahead together. When it is used up, each still reads one pull at a time.
    pub node_read_ahead_bytes: usize,
    /// How many messages a pull asks for; stock brokers return at most 32, and 8 from disk.
    pub pull_messages: u32,
    /// How long a pull waits at the end of the source queue.
    pub poll_wait: Duration,
    /// How long a run waits, from when the target answers, before it reads the target's tail, so that whatever a
    /// previous owner sent has either landed or never will. Longer than the client keeps bytes that nobody took.
    pub settle: Duration,
    /// The same after a send of this run whose outcome is unknown. Its connection was closed hard, or the broker itself
    /// answered that it does not know, so only what the broker had read already can still land; a broker that works
    /// does that within its queue limit (200 ms by default). So it may be shorter than the kernel keeps bytes.
    pub settle_own: Duration,
    /// Between two looks at the end of the target queue while it has to stand still.
    pub settle_poll: Duration,
    /// Whether an earlier owner that ended without a word is waited out for longer.
    pub takeover: Takeover,
    /// How long the target is watched after a start that is not the first, or after an unknown outcome: everything that
    /// others store there is looked through for copies that a dead owner wrote after its time.
    pub watch: Duration,
    /// How far back the target queue is searched for the last copy after it lost acknowledged ones, in messages.
    pub search_back_messages: u32,
    /// How far back it is searched for copies at the very first start of a partition, in messages.
    pub first_search_messages: u32,
    /// The first wait after a failed request; each further one doubles.
    pub retry_first: Duration,
    /// The longest wait between two attempts.
    pub retry_longest: Duration,
    /// How long failures are retried inside a run before it ends and is built again.
    pub patience: Duration,
    /// How many times in a row an anomaly of the source has to be seen before it counts.
    pub confirmations: u32,
    /// Between two looks at an anomaly.
    pub confirmation_wait: Duration,
}

impl Default for ReplicateSettings {
    fn default() -> Self {
        Self {
            batch_bytes: 1024 * 1024,
            batch_messages: 2048,
            read_ahead_bytes: 4 * 1024 * 1024,
            node_read_ahead_bytes: 16 * 1024 * 1024,
            pull_messages: 1024,
            poll_wait: Duration::from_secs(15),
            settle: Duration::from_millis(1_800),
            settle_own: Duration::from_secs(2),
            settle_poll: Duration::from_millis(100),
            takeover: Takeover::default(),
            watch: Duration::from_secs(120),
            search_back_messages: 100_000,
            first_search_messages: 10_000,
            retry_first: Duration::from_millis(100),
            retry_longest: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            confirmations: 3,
            confirmation_wait: Duration::from_millis(500),
        }
    }
}
