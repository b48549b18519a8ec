//! What a comparison found, for people and for scripts.

use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::dump::Lines;
use super::matching::Found;
use super::rules::Rules;

/// Where a message is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Broker name.
    pub broker: String,
    /// Queue id.
    pub queue: u32,
    /// Offset in the queue.
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}@{}", self.broker, self.queue, self.offset)
    }
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A source message has no copy.
    Lost,
    /// A source message has more than one copy.
    Duplicated,
    /// A copy stands behind the copy of a later message of its source queue.
    OutOfOrder,
    /// A copy differs from its source message.
    Altered,
    /// A copy is in a queue where it does not belong.
    Moved,
    /// A target message is the copy of no source message.
    Foreign,
    /// A stored checksum does not fit its body, on either side.
    Corrupt,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is.
    pub kind: Kind,
    /// The source message, if there is one.
    pub source: Option<Place>,
    /// The target message, if there is one.
    pub target: Option<Place>,
    /// More about it, one thing per line.
    pub detail: Vec<String>,
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Messages of the source that were expected at the target.
    pub source_messages: usize,
    /// Messages of the target.
    pub target_messages: usize,
    /// Copies that are as they should be, in the queue where they belong.
    pub identical: usize,
    /// How many of each kind.
    pub lost: usize,
    /// See [`Kind::Duplicated`].
    pub duplicated: usize,
    /// See [`Kind::OutOfOrder`].
    pub out_of_order: usize,
    /// See [`Kind::Altered`].
    pub altered: usize,
    /// See [`Kind::Moved`].
    pub moved: usize,
    /// See [`Kind::Foreign`]; counted but no difference where the rules allow them.
    pub foreign: usize,
    /// See [`Kind::Corrupt`].
    pub corrupt: usize,
    /// Whether nothing is wrong.
    pub identical_topics: bool,
    /// The first differences, by kind and place.
    pub differences: Vec<Difference>,
}

pub(super) fn build(
    source: &Path,
    target: &Path,
    rules: &Rules,
    found: Found,
    faults: Vec<Difference>,
) -> io::Result<Report> {
    let (from, to) = (&found.source, &found.target);
    let count = |kind: Kind| faults.iter().filter(|fault| fault.kind == kind).count();
    let mut report = Report {
        source_messages: from.entries.len(),
        target_messages: to.entries.len(),
        identical: found.identical,
        lost: found.lost.len(),
        duplicated: found.duplicated.len(),
        out_of_order: found.out_of_order.len(),
        altered: found.altered.len() + count(Kind::Altered),
        moved: found.moved.len(),
        foreign: found.foreign.len(),
        corrupt: count(Kind::Corrupt),
        identical_topics: false,
        differences: Vec::new(),
    };
    let foreign = if rules.allow_foreign { 0 } else { report.foreign };
    let wrong = [report.lost, report.duplicated, report.out_of_order, report.altered, report.moved, report.corrupt];
    report.identical_topics = wrong.iter().sum::<usize>() + foreign == 0;

    let mut push = |kind, source: Option<usize>, target: Option<usize>, detail: Vec<String>| {
        let (source, target) = (source.map(|entry| from.place(entry)), target.map(|entry| to.place(entry)));
        report.differences.push(Difference { kind, source, target, detail });
    };
    let some = rules.examples;
    for entry in found.lost.iter().take(some) {
        push(Kind::Lost, Some(*entry), None, Vec::new());
    }
    for (entry, copy) in found.duplicated.iter().take(some) {
        push(Kind::Duplicated, *entry, Some(*copy), Vec::new());
    }
    for (entry, copy, later) in found.out_of_order.iter().take(some) {
        push(Kind::OutOfOrder, Some(*entry), Some(*copy), vec![format!("behind the copy of {}", from.place(*later))]);
    }
    let (mut source, mut target) = (Lines::open(source)?, Lines::open(target)?);
    for (entry, copy) in found.altered.iter().take(some) {
        let original = source.message_at(from.entries[*entry].position)?;
        let altered = target.message_at(to.entries[*copy].position)?;
        push(Kind::Altered, Some(*entry), Some(*copy), rules.differences(&original, &altered));
    }
    for (entry, copy) in found.moved.iter().take(some) {
        push(Kind::Moved, Some(*entry), Some(*copy), Vec::new());
    }
    if !rules.allow_foreign {
        for copy in found.foreign.iter().take(some) {
            push(Kind::Foreign, None, Some(*copy), Vec::new());
        }
    }
    report.differences.extend(faults.into_iter().take(some));
    report.differences.truncate(some);
    Ok(report)
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.identical_topics { "identical" } else { "DIFFERENT" };
        writeln!(out, "{verdict}: {} source messages, {} target messages", self.source_messages, self.target_messages)?;
        writeln!(
            out,
            "identical {}, lost {}, duplicated {}, out of order {}, altered {}, moved {}, foreign {}, corrupt {}",
            self.identical,
            self.lost,
            self.duplicated,
            self.out_of_order,
            self.altered,
            self.moved,
            self.foreign,
            self.corrupt
        )?;
        let place = |place: &Option<Place>| place.as_ref().map_or_else(|| "-".to_owned(), Place::to_string);
        for difference in &self.differences {
            writeln!(out, "{:?}: {} -> {}", difference.kind, place(&difference.source), place(&difference.target))?;
            for line in &difference.detail {
                writeln!(out, "    {line}")?;
            }
        }
        Ok(())
    }
}
