//! Finds for each source message its copy, from strict to lenient, so that one fault never looks like many.
//!
//! 1. Equal content in the queue where it belongs, repeated messages in their order.
//! 2. Equal content in another queue: moved.
//! 3. Among what is left, equal identity, then equal body, first in the right queue, then anywhere: altered.
//!
//! What is left then is lost (source), doubled (target, known content or identity) or from elsewhere.

use std::collections::{BTreeMap, HashMap};

use super::index::{Entry, Index};
use super::rules::{QueueRule, Rules};

/// Entry numbers of both dumps, by what became of them.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) source: Index,
    pub(super) target: Index,
    pub(super) identical: usize,
    pub(super) moved: Vec<(usize, usize)>,
    pub(super) altered: Vec<(usize, usize)>,
    pub(super) lost: Vec<usize>,
    pub(super) duplicated: Vec<(Option<usize>, usize)>,
    pub(super) foreign: Vec<usize>,
    /// A source message, its copy, and the later source message whose copy stands before it.
    pub(super) out_of_order: Vec<(usize, usize, usize)>,
}

/// One key per entry under which copies are looked for.
type Key = (u128, Option<u32>);

pub(super) fn run(source: Index, target: Index, rules: &Rules) -> Found {
    let home = homes(&source, &target, rules);
    let home_of = |entry: &Entry| home[usize::try_from(entry.queue).unwrap()];
    let mut copies: Vec<Option<u32>> = vec![None; source.entries.len()];
    let mut taken = vec![false; target.entries.len()];

    let in_place = pair(&source, &target, &mut copies, &mut taken, &|entry, is_source| {
        // A queue with no home matches nothing here: no target entry has this number.
        Some((entry.content, Some(if is_source { home_of(entry).unwrap_or(u32::MAX) } else { entry.queue })))
    });
    let moved = pair(&source, &target, &mut copies, &mut taken, &|entry, _| Some((entry.content, None)));
    let mut altered = Vec::new();
    let weaker: [fn(&Entry) -> u128; 2] = [|entry| entry.identity.into(), |entry| entry.body.into()];
    for anywhere in [false, true] {
        for key in weaker {
            altered.extend(pair(&source, &target, &mut copies, &mut taken, &|entry, is_source| {
                let queue = if is_source { home_of(entry).unwrap_or(u32::MAX) } else { entry.queue };
                Some((key(entry), if anywhere { None } else { Some(queue) }))
            }));
        }
    }
    let lost = (0..copies.len()).filter(|entry| copies[*entry].is_none()).collect();
    let out_of_order = disorder(&source, &target, &copies);
    let (duplicated, foreign) = leftovers(&source, &target, &taken);
    Found { identical: in_place.len(), moved, altered, lost, duplicated, foreign, out_of_order, source, target }
}

/// Pairs free entries of both sides that have the same key, both in the order of their dumps.
fn pair(
    source: &Index,
    target: &Index,
    copies: &mut [Option<u32>],
    taken: &mut [bool],
    key: &dyn Fn(&Entry, bool) -> Option<Key>,
) -> Vec<(usize, usize)> {
    let sorted = |index: &Index, free: &dyn Fn(usize) -> bool, is_source: bool| {
        let mut keys: Vec<(Key, u32)> = (0..index.entries.len())
            .filter(|entry| free(*entry))
            .filter_map(|entry| Some((key(&index.entries[entry], is_source)?, u32::try_from(entry).unwrap())))
            .collect();
        keys.sort_unstable();
        keys
    };
    let wanted = sorted(source, &|entry| copies[entry].is_none(), true);
    let offered = sorted(target, &|entry| !taken[entry], false);
    let mut pairs = Vec::new();
    let mut offered = offered.into_iter().peekable();
    for (key, entry) in wanted {
        while offered.next_if(|(other, _)| *other < key).is_some() {}
        if let Some((_, copy)) = offered.next_if(|(other, _)| *other == key) {
            copies[usize::try_from(entry).unwrap()] = Some(copy);
            taken[usize::try_from(copy).unwrap()] = true;
            pairs.push((usize::try_from(entry).unwrap(), usize::try_from(copy).unwrap()));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// For each source queue the target queue in which its messages belong.
fn homes(source: &Index, target: &Index, rules: &Rules) -> Vec<Option<u32>> {
    if rules.queues == QueueRule::One {
        return most_used(source, target);
    }
    let brokers = |index: &Index| {
        let mut names: Vec<String> = index.queues.iter().map(|(broker, _)| broker.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let (from, to) = (brokers(source), brokers(target));
    let find = |(broker, queue): &(String, u32)| {
        let name = to.get(from.binary_search(broker).ok()?)?;
        let place = target.queues.iter().position(|(broker, id)| broker == name && id == queue)?;
        Some(u32::try_from(place).unwrap())
    };
    source.queues.iter().map(find).collect()
}

/// The target queue that holds most of each source queue, counted over messages whose content occurs once on each side.
fn most_used(source: &Index, target: &Index) -> Vec<Option<u32>> {
    let once = |index: &Index| {
        let mut places: HashMap<u128, Option<u32>> = HashMap::with_capacity(index.entries.len());
        for entry in &index.entries {
            places.entry(entry.content).and_modify(|place| *place = None).or_insert(Some(entry.queue));
        }
        places
    };
    let (from, to) = (once(source), once(target));
    let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for (content, queue) in from {
        if let (Some(queue), Some(Some(copy))) = (queue, to.get(&content)) {
            *counts.entry((queue, *copy)).or_default() += 1;
        }
    }
    (0..source.queues.len())
        .map(|queue| {
            let candidates = counts.iter().filter(|((from, _), _)| usize::try_from(*from) == Ok(queue));
            candidates.max_by_key(|(_, count)| **count).map(|((_, to), _)| *to)
        })
        .collect()
}

/// Copies that stand behind the copy of a later message of the same source queue, in one target queue.
fn disorder(source: &Index, target: &Index, copies: &[Option<u32>]) -> Vec<(usize, usize, usize)> {
    let mut origin: Vec<Option<usize>> = vec![None; target.entries.len()];
    for (entry, copy) in copies.iter().enumerate() {
        if let Some(copy) = copy {
            origin[usize::try_from(*copy).unwrap()] = Some(entry);
        }
    }
    let mut furthest: HashMap<(u32, u32), usize> = HashMap::new();
    let mut found = Vec::new();
    for (copy, entry) in origin.into_iter().enumerate() {
        let Some(entry) = entry else { continue };
        let lane = (target.entries[copy].queue, source.entries[entry].queue);
        let last = furthest.entry(lane).or_insert(entry);
        if entry < *last {
            found.push((entry, copy, *last));
        }
        *last = entry.max(*last);
    }
    found
}

/// Splits unmatched target entries into doubles of source messages and messages from elsewhere.
fn leftovers(source: &Index, target: &Index, taken: &[bool]) -> (Vec<(Option<usize>, usize)>, Vec<usize>) {
    let free: Vec<usize> = (0..taken.len()).filter(|entry| !taken[*entry]).collect();
    if free.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let mut contents = HashMap::new();
    let mut identities = HashMap::new();
    for (number, entry) in source.entries.iter().enumerate() {
        contents.entry(entry.content).or_insert(number);
        identities.entry((entry.identity, entry.body)).or_insert(number);
    }
    let (mut doubled, mut foreign) = (Vec::new(), Vec::new());
    for number in free {
        let entry = &target.entries[number];
        let known = contents.get(&entry.content).or_else(|| identities.get(&(entry.identity, entry.body)));
        match known {
            Some(original) => doubled.push((Some(*original), number)),
            None => foreign.push(number),
        }
    }
    (doubled, foreign)
}
