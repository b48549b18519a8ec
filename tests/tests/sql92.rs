//! SQL92 expressions mean what Apache's own filter makes of them: the same verdicts and the same refusals.

#[path = "../../node/rules/examples/sql92_verdicts/cases.rs"]
mod cases;
#[path = "../../node/rules/examples/sql92_verdicts/generator.rs"]
mod generator;

use causeway_tests::selector::verdicts;

/// A few seconds; the example `sql92_verdicts` of `causeway-rules` compares as many as wanted.
const CASES: usize = 4_000;

#[test]
fn generated_expressions_have_apaches_verdicts_and_refusals() {
    let mut generator = generator::Generator::new(20);
    let lines: Vec<String> = (0..CASES).map(|_| generator.case().write()).collect();
    let cases = lines.join("\n");
    let found = cases::compare(&cases, &verdicts(&cases)).unwrap();
    assert!(found.different == 0, "{:?}\n{}", found.counts, found.shown.join("\n"));
    println!("{:?}", found.counts);
    for kind in ["TRUE", "FALSE", "UNKNOWN", "FAILED", "REFUSED"] {
        let count = found.counts.get(&format!("identical {kind}")).copied().unwrap_or_default();
        assert!(count >= 40, "{kind} is too rare: {:?}", found.counts);
    }
}

#[test]
fn a_wrong_verdict_is_found() {
    let case = cases::Case { expression: b"a = 'x'".to_vec(), properties: vec![(b"a".to_vec(), b"x".to_vec())] };
    let line = case.write();
    assert_eq!(cases::verdict(&cases::Case::read(&line).unwrap()), "TRUE");
    for (theirs, different) in [("TRUE", 0), ("FALSE", 1), ("REFUSED", 1), ("TRUE rest", 0)] {
        assert_eq!(cases::compare(&line, theirs).unwrap().different, different, "{theirs}");
    }
}
