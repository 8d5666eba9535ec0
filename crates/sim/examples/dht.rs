//! Prints what DHT networks tell, as Markdown: `dht [calm|rough|attacked].. [--nodes N] [--warm-up MINUTES] [--minutes N]
//! [--seed N]`. `cargo xtask sim dht` runs it.

use std::process::ExitCode;
use std::time::Duration;

use samara_sim::dht::trial::quantile;
use samara_sim::dht::{Outcome, Setting, Trial};

/// Builds a network of so many nodes.
type Build = fn(usize) -> Setting;

const ALL: [(&str, Build); 3] =
    [("calm", Setting::calm), ("rough", Setting::rough), ("attacked", Setting::attacked)];

fn main() -> ExitCode {
    match parse() {
        Ok((names, nodes, [warm_up, minutes], seed)) => {
            head();
            let wanted = ALL.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name));
            wanted.for_each(|(name, build)| show(name, &trial(build(nodes), warm_up, minutes).run(seed)));
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("dht: {message}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<(Vec<String>, usize, [u32; 2], u64), String> {
    let (mut names, mut nodes, mut warm_up, mut minutes, mut seed) = (Vec::new(), 10_000, 25, 10, 1);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number =
            || args.next().and_then(|n| n.parse::<u64>().ok()).ok_or(format!("{arg} needs a number"));
        match arg.as_str() {
            "--nodes" => nodes = number()? as usize,
            "--warm-up" => warm_up = number()? as u32,
            "--minutes" => minutes = number()? as u32,
            "--seed" => seed = number()?,
            name if ALL.iter().any(|(other, _)| name == *other) => names.push(arg),
            _ => return Err(format!("there is no network {arg}; there are calm, rough and attacked")),
        }
    }
    Ok((names, nodes, [warm_up, minutes], seed))
}

fn trial(setting: Setting, warm_up: u32, minutes: u32) -> Trial {
    let torrents = (setting.nodes / 100).clamp(10, 100);
    Trial {
        setting,
        torrents,
        searches: 120,
        // Neighbours shall know each other.
        warm_up: Duration::from_secs(60 * u64::from(warm_up)),
        minutes,
        idle: Duration::from_secs(120),
    }
}

fn head() {
    println!(
        "| network | searches | found | ghosts | stored at | questions p50 p95 | answered | hops p50 p95 | ms p50 p95 | idle B/s out in | table | stale | size |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
}

fn show(name: &str, o: &Outcome) {
    let of = |values: &[f64], share| quantile(values, share);
    println!(
        "| {name} | {} | {:.2} % | {}/{} | {:.1} | {:.0} {:.0} | {:.0} | {:.0} {:.0} | {:.0} {:.0} | {:.0} {:.0} | {:.0} | {:.0} % | {:.2} |",
        o.searches,
        100.0 * o.success(),
        o.ghosts,
        o.late,
        o.stored,
        of(&o.asked, 0.5),
        of(&o.asked, 0.95),
        of(&o.answered, 0.5),
        of(&o.hops, 0.5),
        of(&o.hops, 0.95),
        of(&o.took, 0.5),
        of(&o.took, 0.95),
        o.idle[0],
        o.idle[1],
        o.table,
        100.0 * o.stale,
        o.census,
    );
}
