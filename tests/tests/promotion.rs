//! A promoted slave that lacks acknowledged copies gets them again. The short form of `causeway-soak promotion`.

use causeway_tests::brokers::Version;
use causeway_tests::promotion::{Arrivals, PromotionPlan, run};

fn promotion(target: Version, arrivals: Arrivals) {
    let plan = PromotionPlan { source: Version::V5_5_0, target, arrivals, replicated: 2_000, unreplicated: 800 };
    let report = run(plan, &mut |step| println!("{step}"));
    let failures = report.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn nothing_is_lost_when_messages_keep_arriving() {
    promotion(Version::V5_5_0, Arrivals::Steady);
}

#[test]
fn nothing_is_lost_when_no_message_arrives_any_more() {
    promotion(Version::V4_9_7, Arrivals::Silent);
}
