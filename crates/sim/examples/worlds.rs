//! Prints what the worlds tell, as Markdown: `worlds [NAME..] [--nodes N] [--pieces N] [--seeds N]`. `cargo xtask sim` runs it.

use std::process::ExitCode;

use samara_sim::metrics::{Class, Outcome, measure};
use samara_sim::worlds::{self, Setting, Size};

#[derive(Debug, Default)]
struct Args {
    names: Vec<String>,
    nodes: Option<usize>,
    pieces: Option<u32>,
    seeds: Option<u64>,
}

fn main() -> ExitCode {
    match parse() {
        Ok(args) => {
            let wanted =
                |setting: &&Setting| args.names.is_empty() || args.names.iter().any(|n| n == setting.name);
            worlds::ALL.iter().filter(wanted).for_each(|setting| show(setting, &args));
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("worlds: {message}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Args, String> {
    let (mut parsed, mut args) = (Args::default(), std::env::args().skip(1));
    while let Some(arg) = args.next() {
        let mut number =
            || args.next().and_then(|n| n.parse::<u64>().ok()).ok_or(format!("{arg} needs a number"));
        match arg.as_str() {
            "--nodes" => parsed.nodes = Some(number()? as usize),
            "--pieces" => parsed.pieces = Some(number()? as u32),
            "--seeds" => parsed.seeds = Some(number()?),
            name if worlds::named(name).is_some() => parsed.names.push(arg),
            _ => {
                let names: Vec<_> = worlds::ALL.iter().map(|setting| setting.name).collect();
                return Err(format!("there is no world {arg}; there are {}", names.join(", ")));
            }
        }
    }
    Ok(parsed)
}

fn show(setting: &Setting, args: &Args) {
    let size = Size {
        nodes: args.nodes.unwrap_or(setting.size.nodes),
        pieces: args.pieces.unwrap_or(setting.size.pieces),
    };
    let seeds = args.seeds.unwrap_or(if size.nodes > 300 { 1 } else { 3 });
    println!("### {}: {}\n", setting.name, setting.about);
    let mib = (u64::from(size.pieces) * u64::from(worlds::PIECE)) >> 20;
    println!("{} nodes beside the seed, {mib} MiB; seeds 1 to {seeds}.\n", size.nodes);
    let runs: Vec<_> = (1..=seeds).map(|seed| run(setting, size, seed)).collect();
    let outcomes: Vec<_> = runs.iter().map(|(outcome, _)| outcome.clone()).collect();
    classes(&outcomes);
    summary(&runs);
}

/// The world, and how long the same without its special members takes.
fn run(setting: &Setting, size: Size, seed: u64) -> (Outcome, Option<f64>) {
    let outcome = measure(&setting.scenario(size, seed), seed);
    let plain =
        setting.without.map(|build| measure(&Setting { build, ..*setting }.scenario(size, seed), seed).last);
    (outcome, plain)
}

fn classes(outcomes: &[Outcome]) {
    println!("| class | members | done | first s | median s | last s | sent | received | wasted |");
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --: |");
    for class in outcomes.first().into_iter().flat_map(|outcome| &outcome.classes) {
        let same: Vec<&Class> = outcomes.iter().filter_map(|outcome| outcome.class(class.name)).collect();
        let each = |f: &dyn Fn(&Class) -> f64| mean(same.iter().map(|class| f(class)));
        let time = |share: f64| {
            let times: Option<Vec<f64>> = same.iter().map(|class| class.quantile(share)).collect();
            times
                .filter(|_| class.wanting > 0)
                .map_or("".into(), |times| format!("{:.0}", mean(times.into_iter())))
        };
        let members = class.members as f64;
        println!(
            "| {} | {} | {:.0} | {} | {} | {} | {:.2} | {:.2} | {:.1} % |",
            class.name,
            class.members,
            each(&|c| c.times.len() as f64),
            time(0.0),
            time(0.5),
            time(1.0),
            each(&|c| c.up / members),
            each(&|c| c.down / members),
            each(&|c| 100.0 * c.wasted / c.down.max(1e-9)),
        );
    }
    println!("\nSent and received in copies of the torrent, a member.\n");
}

fn summary(runs: &[(Outcome, Option<f64>)]) {
    println!(
        "| seed | bound s | last s | efficiency | seeds sent | wasted | Jain | free riders slower | without s | delay | polluters caught | at large | wronged | bridged | overhead |"
    );
    println!("| --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
    for (seed, (o, plain)) in (1..).zip(runs) {
        let (bans, or_not) =
            (o.bans, |x: Option<f64>, digits: usize| x.map_or(String::new(), |x| format!("{x:.digits$}")));
        println!(
            "| {seed} | {} | {:.0} | {} | {:.2} | {:.2} % | {} | {} | {} | {} | {}/{} | {} | {} | {:.2} | {:.2} % |",
            or_not(o.bound, 0),
            o.last,
            or_not(o.efficiency(), 3),
            o.seed_copies,
            100.0 * o.wasted,
            or_not(o.jain, 3),
            or_not(o.slowdown(), 2),
            or_not(*plain, 0),
            or_not(plain.map(|plain| o.last / plain), 3),
            bans.caught,
            bans.polluters,
            bans.at_large,
            bans.wronged,
            o.bridged,
            100.0 * o.overhead,
        );
    }
    println!();
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}
