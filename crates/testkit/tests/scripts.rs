//! Scripted modules with control flow: what they compute is what PyTorch computed.

use mlc_driver::Precision;
use mlc_target::Opset;
use mlc_testkit::cases::collect::{Wanted, collect};
use mlc_testkit::cases::outcome::Reached;
use mlc_testkit::cases::run::{Plan, run_all};
use mlc_testkit::cases::{Config, Stage};
use mlc_testkit::workspace_root;

#[test]
fn scripted_modules_agree_with_pytorch() {
    let wanted = Wanted { kinds: vec!["model.pt".to_owned()], ..Wanted::default() };
    let cases = collect(&workspace_root().join("testdata/front/ts"), &wanted);
    assert!(cases.len() >= 8, "{} scripted modules", cases.len());
    let config = Config { opset: Opset::Ios18, precision: Precision::Fp32 };
    let plan = Plan {
        configs: vec![config],
        stage: Stage::Eval,
        packages: None,
        jobs: 2,
        fixed: false,
        level: mlc_driver::Preset::O2,
        against: None,
    };
    let outcomes = run_all(&cases, &plan, &|_, _| {}).unwrap();
    for (case, outcomes) in cases.iter().zip(outcomes) {
        for outcome in outcomes {
            assert_eq!(outcome.reached, Reached::Matched, "{}: {:?}", case.id, outcome.failure);
        }
    }
}
