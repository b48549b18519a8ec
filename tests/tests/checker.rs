//! The checker finds what it must find: seeded faults in dumps, each alone and named, and nothing where nothing is
//! wrong.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use causeway_tests::checker::dump::{Header, Line, Message};
use causeway_tests::checker::{BodyRule, Kind, QueueRule, Report, Rules, compare};

const QUEUES: u32 = 4;
const PER_QUEUE: i64 = 50;

/// The messages of a topic, by queue.
type Topic = Vec<Vec<Message>>;

fn message(queue: u32, offset: i64) -> Message {
    let number = i64::from(queue) * 1000 + offset;
    let properties =
        [("UNIQ_KEY", format!("id-{number}")), ("KEYS", format!("key-{number}")), ("city", "qingdao".into())];
    Message {
        broker: "broker-a".into(),
        queue,
        offset,
        stored_length: 10,
        stored_sha256: format!("stored-{number}"),
        crc_valid: true,
        body_length: 20,
        body_sha256: format!("body-{number}"),
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000 + number,
        born_host: "/127.0.0.1:1".into(),
        store_timestamp: 1_700_000_000_500 + number,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        keys: None,
        tags: None,
        properties: properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

fn topic() -> Topic {
    (0..QUEUES).map(|queue| (0..PER_QUEUE).map(|offset| message(queue, offset)).collect()).collect()
}

/// What a copier makes of it: other offsets and addresses, one more property, broker leftovers.
fn copy() -> Topic {
    let mut copy = topic();
    for message in copy.iter_mut().flatten() {
        message.broker = "broker-x".into();
        message.born_host = "/10.0.0.1:2".into();
        message.store_timestamp += 1000;
        message.properties.insert("PROVENANCE".into(), "p".into());
        message.properties.insert("CLUSTER".into(), "hohhot".into());
    }
    copy
}

/// Writes a topic as a dump; offsets of each queue are numbered anew from `first`.
fn write(folder: &Path, name: &str, topic: &Topic, first: i64) -> PathBuf {
    let mut text = String::new();
    let broker = topic.iter().flatten().next().map_or("broker-a", |message| message.broker.as_str()).to_owned();
    for (queue, messages) in (0..).zip(topic) {
        let maximum = first + i64::try_from(messages.len()).unwrap();
        let header = Line::Header(Header { broker: broker.clone(), queue, minimum: first, maximum });
        writeln!(text, "{}", serde_json::to_string(&header).unwrap()).unwrap();
        for (offset, message) in (first..).zip(messages) {
            let message = Message { queue, offset, ..message.clone() };
            writeln!(text, "{}", serde_json::to_string(&Line::Message(message)).unwrap()).unwrap();
        }
    }
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn judge_with(source: &Topic, target: &Topic, rules: &Rules) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let source = write(folder.path(), "source", source, 0);
    let target = write(folder.path(), "target", target, 7);
    compare(&source, &target, rules).unwrap()
}

fn judge(target: &Topic) -> Report {
    judge_with(&topic(), target, &Rules::copy(&["PROVENANCE"]))
}

/// The counts of a report by name, without those that are zero.
fn counts(report: &Report) -> BTreeMap<&'static str, usize> {
    let all = [
        ("lost", report.lost),
        ("duplicated", report.duplicated),
        ("out of order", report.out_of_order),
        ("altered", report.altered),
        ("moved", report.moved),
        ("foreign", report.foreign),
        ("corrupt", report.corrupt),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Expects exactly one fault, of this kind and at this source message, and returns its details.
fn only(report: &Report, name: &'static str, kind: Kind, place: Option<&str>) -> String {
    assert_eq!(counts(report), BTreeMap::from([(name, 1)]), "{report}");
    assert!(!report.identical_topics);
    let difference = &report.differences[0];
    assert_eq!(report.differences.len(), 1);
    assert_eq!(difference.kind, kind);
    assert_eq!(difference.source.as_ref().map(ToString::to_string).as_deref(), place);
    difference.detail.join("; ")
}

#[test]
fn a_topic_equals_itself_and_its_faithful_copy() {
    let report = judge_with(&topic(), &topic(), &Rules::exact());
    assert!(report.identical_topics, "{report}");
    let report = judge(&copy());
    assert!(report.identical_topics, "{report}");
    assert_eq!((report.identical, report.differences.len()), (200, 0));
    // The same copy is not the same topic.
    let report = judge_with(&topic(), &copy(), &Rules::exact());
    assert_eq!((report.altered, report.identical), (200, 0));
}

#[test]
fn a_lost_message_is_named() {
    let mut target = copy();
    target[2].remove(10);
    only(&judge(&target), "lost", Kind::Lost, Some("broker-a/2@10"));
    let mut target = copy();
    target[3].pop();
    only(&judge(&target), "lost", Kind::Lost, Some("broker-a/3@49"));
}

#[test]
fn a_doubled_message_is_named() {
    for place in [20, 21, 40] {
        let mut target = copy();
        let double = target[1][20].clone();
        target[1].insert(place, double);
        let report = judge(&target);
        // A double that stands far behind is also behind its successors only if it is taken for the copy; it is not.
        only(&report, "duplicated", Kind::Duplicated, Some("broker-a/1@20"));
    }
}

#[test]
fn swapped_messages_are_named() {
    let mut target = copy();
    target[0].swap(30, 31);
    let detail = only(&judge(&target), "out of order", Kind::OutOfOrder, Some("broker-a/0@30"));
    assert_eq!(detail, "behind the copy of broker-a/0@31");
}

#[test]
fn an_altered_body_is_named() {
    let mut target = copy();
    target[1][5].stored_sha256 = "other".into();
    target[1][5].body_sha256 = "other".into();
    let detail = only(&judge(&target), "altered", Kind::Altered, Some("broker-a/1@5"));
    assert!(detail.contains("body") && detail.contains("other"), "{detail}");
}

#[test]
fn an_altered_added_or_missing_property_is_named() {
    let changes: [fn(&mut BTreeMap<String, String>); 5] = [
        |properties| _ = properties.insert("city".into(), "hohhot".into()),
        |properties| _ = properties.insert("new".into(), "x".into()),
        |properties| _ = properties.remove("city"),
        |properties| _ = properties.insert("UNIQ_KEY".into(), "another id".into()),
        |properties| _ = properties.insert("KEYS".into(), "other keys".into()),
    ];
    for (change, name) in changes.into_iter().zip(["city", "new", "city", "UNIQ_KEY", "KEYS"]) {
        let mut target = copy();
        change(&mut target[3][0].properties);
        let detail = only(&judge(&target), "altered", Kind::Altered, Some("broker-a/3@0"));
        assert!(detail.starts_with(name), "{detail}");
    }
}

#[test]
fn every_header_field_counts() {
    let changes: [fn(&mut Message); 5] = [
        |message| message.flag = 1,
        |message| message.sys_flag = 1,
        |message| message.sys_flag = 0x200,
        |message| message.reconsume_times = 1,
        |message| message.born_timestamp += 1,
    ];
    for change in changes {
        let mut target = copy();
        change(&mut target[0][9]);
        only(&judge(&target), "altered", Kind::Altered, Some("broker-a/0@9"));
    }
    // Transaction and address bits belong to one broker, not to the message.
    let mut target = copy();
    target[0][9].sys_flag = 0x8 | 0x10 | 0x20;
    assert!(judge(&target).identical_topics);
}

#[test]
fn a_message_in_another_queue_is_named() {
    let mut target = copy();
    let moved = target[0].remove(25);
    target[2].insert(25, moved);
    only(&judge(&target), "moved", Kind::Moved, Some("broker-a/0@25"));
}

#[test]
fn properties_that_a_copy_must_and_must_not_have_are_checked() {
    let mut target = copy();
    target[0][0].properties.remove("PROVENANCE");
    let report = judge(&target);
    assert_eq!(counts(&report), BTreeMap::from([("altered", 1)]));
    assert_eq!(report.differences[0].detail, ["property PROVENANCE is missing"]);
    let mut source = topic();
    let mut target = copy();
    source[0][0].properties.insert("DELAY".into(), "3".into());
    assert!(judge_with(&source, &target, &Rules::copy(&[])).altered > 0, "PROVENANCE is not allowed for");
    let rules = Rules::copy(&["PROVENANCE"]);
    assert!(judge_with(&source, &target, &rules).identical_topics, "DELAY was stripped as it should be");
    target[0][0].properties.insert("DELAY".into(), "3".into());
    assert_eq!(judge_with(&source, &target, &rules).differences[0].detail, ["property DELAY was not stripped"]);
}

#[test]
fn foreign_and_corrupt_messages_are_named() {
    let mut target = copy();
    target[0].insert(3, Message { broker: "broker-x".into(), ..message(77, 77) });
    target[0][3].properties.insert("PROVENANCE".into(), "p".into());
    only(&judge(&target), "foreign", Kind::Foreign, None);
    let rules = Rules { allow_foreign: true, ..Rules::copy(&["PROVENANCE"]) };
    assert!(judge_with(&topic(), &target, &rules).identical_topics);
    let mut target = copy();
    target[0][3].crc_valid = false;
    only(&judge(&target), "corrupt", Kind::Corrupt, None);
}

#[test]
fn repeated_ids_and_equal_messages_are_no_faults_but_still_counted() {
    let make = |mut topic: Topic| {
        for message in &mut topic[1][10..14] {
            message.properties.insert("UNIQ_KEY".into(), "one id for all".into());
            message.properties.insert("KEYS".into(), "k".into());
        }
        let repeated = topic[2][20].clone();
        topic[2][21..23].fill(repeated);
        topic
    };
    let (source, rules) = (make(topic()), Rules::copy(&["PROVENANCE"]));
    assert!(judge_with(&source, &make(copy()), &rules).identical_topics);
    let mut target = make(copy());
    target[2].remove(21);
    assert_eq!(counts(&judge_with(&source, &target, &rules)), BTreeMap::from([("lost", 1)]));
    let mut target = make(copy());
    target[1].swap(11, 12);
    assert_eq!(counts(&judge_with(&source, &target, &rules)), BTreeMap::from([("out of order", 1)]));
}

#[test]
fn several_faults_do_not_hide_each_other() {
    let mut target = copy();
    target[0].swap(1, 2);
    target[1].remove(4);
    let double = target[2][7].clone();
    target[2].push(double);
    target[3][8].stored_sha256 = "other".into();
    let expected = BTreeMap::from([("lost", 1), ("duplicated", 1), ("out of order", 1), ("altered", 1)]);
    assert_eq!(counts(&judge(&target)), expected);
    let mut target = copy();
    for message in &mut target[0] {
        message.flag = 9;
    }
    let report = judge(&target);
    assert_eq!((report.altered, report.differences.len(), report.lost), (50, 20, 0));
}

#[test]
fn rules_can_be_loosened() {
    // Another queue for each source queue, and two source queues in one target queue.
    let copies = copy();
    let merged: Vec<Message> = copies[0].iter().zip(&copies[1]).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    let mut target = vec![Vec::new(), copies[3].clone(), merged, copies[2].clone()];
    assert_eq!(judge(&target).moved, 200);
    let rules = Rules { queues: QueueRule::One, ..Rules::copy(&["PROVENANCE"]) };
    assert!(judge_with(&topic(), &target, &rules).identical_topics);
    let stray = target[2].remove(50);
    target[1].push(stray);
    assert_eq!(counts(&judge_with(&topic(), &target, &rules)), BTreeMap::from([("moved", 1)]));

    // Bodies that were compressed anew.
    let mut target = copy();
    target[0][0].stored_sha256 = "zstd".into();
    target[0][0].sys_flag = 0x201;
    assert_eq!(judge(&target).altered, 1);
    let rules = Rules { body: BodyRule::Decoded, ..Rules::copy(&["PROVENANCE"]) };
    assert!(judge_with(&topic(), &target, &rules).identical_topics);

    // A stream that started later.
    let mut target = copy();
    target[0].drain(..10);
    let mut rules = Rules::copy(&["PROVENANCE"]);
    assert_eq!(judge_with(&topic(), &target, &rules).lost, 10);
    rules.first_offsets.insert(("broker-a".into(), 0), 10);
    assert!(judge_with(&topic(), &target, &rules).identical_topics);
}

#[test]
fn a_cut_or_unsorted_dump_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = write(folder.path(), "whole", &topic(), 0);
    let text = std::fs::read_to_string(&whole).unwrap();
    let mut unsorted: Vec<&str> = text.lines().collect();
    unsorted.swap(10, 11);
    let broken = [&text[..text.len() - 3], "", "nonsense\n", &format!("{}\n", unsorted.join("\n"))];
    for text in broken {
        let path = folder.path().join("broken");
        std::fs::write(&path, text).unwrap();
        assert!(compare(&whole, &path, &Rules::exact()).is_err());
    }
}

#[test]
fn the_program_says_it_in_text_json_and_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let source = write(folder.path(), "source", &topic(), 0);
    let target = write(folder.path(), "target", &copy(), 0);
    let mut lossy = copy();
    lossy[0].remove(0);
    let lossy = write(folder.path(), "lossy", &lossy, 0);
    let run = |target: &Path, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_causeway-check"));
        let output = command.arg(&source).arg(target).args(["--added", "PROVENANCE"]).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run(&target, &[]).0, Some(0));
    let (code, text) = run(&lossy, &[]);
    assert!(code == Some(1) && text.contains("Lost: broker-a/0@0"), "{text}");
    let (code, json) = run(&lossy, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, json["lost"].as_u64(), json["differences"][0]["kind"].as_str()),
        (Some(1), Some(1), Some("lost"))
    );
    assert_eq!(run(&lossy, &["--first", "broker-a/0@1"]).0, Some(0));
    assert_eq!(run(&folder.path().join("nothing"), &[]).0, Some(2));
}
