//! Networks of DHT nodes in virtual time: the short form of `cargo xtask sim dht`.

use std::time::Duration;

use samara_sim::dht::trial::quantile;
use samara_sim::dht::{Outcome, Setting, Trial};

fn trial(setting: Setting) -> Trial {
    Trial {
        setting: Setting { ramp: Duration::from_secs(60), ..setting },
        torrents: 6,
        searches: 12,
        warm_up: Duration::from_secs(180),
        minutes: 6,
        idle: Duration::from_secs(120),
    }
}

#[test]
fn who_left_is_named_for_half_an_hour_and_no_longer() {
    // Sessions so short that most announcers leave early in the run.
    let short = Setting { silent: 0.0, median_session: Some(Duration::from_secs(600)), ..Setting::rough(40) };
    let outcome = Trial { minutes: 55, searches: 20, idle: Duration::ZERO, ..trial(short) }.run(1);
    assert!(outcome.late >= 30 && outcome.ghosts == 0, "{} of {}", outcome.ghosts, outcome.late);
    assert!(outcome.searches > 100 && outcome.success() >= 0.97, "{outcome:?}");
}

/// Several seeds as one.
fn sum(setting: Setting, seeds: std::ops::Range<u64>) -> Outcome {
    let mut all = Outcome::default();
    for seed in seeds {
        let one = trial(setting).run(seed);
        all.searches += one.searches;
        all.found += one.found;
        all.took.extend(&one.took);
        all.asked.extend(&one.asked);
        all.idle = [0, 1].map(|n| f64::max(all.idle[n], one.idle[n]));
    }
    all.took.sort_by(f64::total_cmp);
    all.asked.sort_by(f64::total_cmp);
    all
}

#[test]
fn in_calm_everything_is_found_soon_and_nothing_twice_alike() {
    let outcome = trial(Setting::calm(80)).run(1);
    assert!(outcome.searches > 40 && outcome.found == outcome.searches, "{outcome:?}");
    assert!(outcome.stored >= 7.9 && quantile(&outcome.took, 0.95) < 2000.0, "{outcome:?}");
    // As text, for what was not measured is not a number.
    let again = trial(Setting::calm(80)).run(1);
    assert_eq!(format!("{again:?}"), format!("{outcome:?}"), "equal seeds, equal runs");
}

#[test]
fn loss_churn_and_nats_are_survived_within_the_idle_budget() {
    let outcome = sum(Setting::rough(100), 1..3);
    assert!(outcome.success() >= 0.97, "{outcome:?}");
    assert!(outcome.idle.iter().all(|rate| (1.0..500.0).contains(rate)), "{:?}", outcome.idle);
}

#[test]
fn a_fifth_of_liars_does_not_hide_what_there_is() {
    let outcome = sum(Setting::attacked(100), 1..3);
    assert!(outcome.success() >= 0.93, "{outcome:?}");
    assert!(quantile(&outcome.asked, 0.95) < 100.0, "{:?}", quantile(&outcome.asked, 0.95));
}
