use std::env;
use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser};

use super::*;

#[derive(Parser)]
struct Hub {
    #[command(flatten)]
    options: Options,
}

fn flags(args: &[&str]) -> Options {
    Hub::try_parse_from([&["hub"], args].concat()).map(|hub| hub.options).unwrap()
}

fn refusal(text: &str) -> String {
    let path = Path::new("hub.toml");
    let options = toml::from_str::<Options>(text).map_err(|cause| ConfigError::syntax(path, text, &cause));
    options.and_then(Config::new).unwrap_err().to_string()
}

#[test]
fn the_sample_in_packaging_is_the_list_of_settings() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../packaging/hub.toml");
    if env::var_os("SAMARA_BLESS").is_some() {
        fs::write(&path, sample()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept == sample(), "packaging/hub.toml is stale: run this test with SAMARA_BLESS=1");
}

#[test]
fn every_line_of_the_sample_is_valid() {
    let uncommented: String = sample()
        .lines()
        .map(|l| l.strip_prefix('#').unwrap_or(l))
        .fold(String::new(), |all, line| if line.starts_with(['#', ' ']) { all } else { all + line + "\n" });
    let set: Options = toml::from_str(&uncommented).unwrap();
    assert_eq!(set.clone().or(Options::defaults().unwrap()), set, "a default is not what the sample says");
    Config::new(set).unwrap();
}

#[test]
fn the_sample_as_it_stands_changes_nothing() {
    assert_eq!(toml::from_str::<Options>(&sample()).unwrap(), Options::default());
}

#[test]
fn every_setting_has_its_flag_and_its_variable() {
    let command = Hub::command();
    for (key, value, is_default) in Options::VALUES {
        let arg = command.get_arguments().find(|a| a.get_id() == key).unwrap();
        assert_eq!(arg.get_long(), Some(key.replace('_', "-").as_str()));
        let variable = format!("SAMARA_HUB_{}", key.to_uppercase());
        assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(variable.as_str()), "{key}");
        assert!(arg.get_help_heading().is_some(), "{key} stands under no heading");
        let help = arg.get_help().unwrap().to_string();
        let quoted = value.trim_matches('"');
        if *is_default && !value.starts_with('[') {
            assert!(
                help.contains(&format!("[default: {quoted}]")),
                "the help of {key} lacks [default: {quoted}]"
            );
        }
    }
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let dir = env::temp_dir().join(format!("samara-hub-config-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join("hub.toml");
    fs::write(&file, "interval = \"10m\"\nworkers = 3\n").unwrap();
    let config = Config::load(flags(&["--interval", "20m"]), Some(&file)).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!((config.interval.as_secs(), config.workers), (1200, 3));
    assert_eq!(config.http.len(), 2);
}

#[test]
fn the_environment_stands_between_flag_and_file() {
    // The process's environment is shared by all tests, so the variable is given as clap would find it.
    let command = Options::augment_args(clap::Command::new("hub"));
    let command = command.mut_arg("interval", |arg| arg.default_value("7m"));
    let parsed = |args: &[&str]| {
        let matches = command.clone().try_get_matches_from([&["hub"], args].concat()).unwrap();
        Options::from_arg_matches(&matches).unwrap().interval.unwrap().as_secs()
    };
    assert_eq!(parsed(&[]), 420);
    assert_eq!(parsed(&["--interval", "8m"]), 480);
}

#[test]
fn refusals_name_the_line_and_the_key() {
    assert_eq!(
        refusal("\nintervall = 3\n"),
        "hub.toml:2: there is no setting `intervall`: did you mean `interval`?"
    );
    assert!(refusal("frobnicate = true").ends_with("`samara hub --help` lists all"));
    let text = refusal("workers = 2\ninterval = \"soon\"\n");
    assert!(text.starts_with("hub.toml:2: ") && text.contains("\"soon\" is not a period"), "{text}");
    let text = refusal("http = [\"[::]:6969\",\n \"localhost\"]\n");
    assert!(text.starts_with("hub.toml:2: "), "{text}");
    assert!(refusal("workers = 0").contains("workers (flag --workers, variable SAMARA_HUB_WORKERS) is 0"));
    assert!(refusal("interval = 0").contains("must be from 1s to 1d"));
    assert!(refusal("only = [\"trackers\"]").contains("tracker"));
    assert!(
        refusal("numwant = 300").contains("numwant (flag --numwant, variable SAMARA_HUB_NUMWANT) is 300")
    );
    assert!(refusal("clients = [\"10.1.2.3/8\"]").contains("did you mean 10.0.0.0/8?"));
}

#[test]
fn a_default_gives_way_to_what_was_set() {
    let config = Config::new(flags(&["--interval", "30s", "--max-numwant", "10", "--full-scrape"])).unwrap();
    assert_eq!((config.min_interval.as_secs(), config.numwant, config.full_scrape), (30, 10, true));
    assert!(refusal("interval = 30\nmin-interval = 31").contains("from 0s to 30s"));
}

#[test]
fn a_certificate_its_key_and_an_address_come_together() {
    let given = |https, cert, key| {
        let lines =
            [(https, "https = [\"[::]:443\"]\n"), (cert, "tls-cert = \"c\"\n"), (key, "tls-key = \"k\"\n")];
        let text: String = lines.iter().filter(|(given, _)| *given).map(|(_, line)| *line).collect();
        Config::new(toml::from_str(&text).unwrap())
    };
    let config = given(true, true, true).unwrap();
    assert!(config.http.is_empty() && config.https.len() == 1 && !config.default_addresses);
    for (https, cert, key) in
        [(true, false, false), (true, true, false), (false, true, true), (false, false, true)]
    {
        assert!(given(https, cert, key).unwrap_err().to_string().contains("beside it"));
    }
}

#[test]
fn naming_one_address_replaces_all_defaults() {
    let config = Config::new(flags(&["--http", "127.0.0.1:0"])).unwrap();
    assert_eq!((config.http.len(), config.udp.len()), (1, 0));
    let config = Config::new(flags(&["--udp", "127.0.0.1:0"])).unwrap();
    assert_eq!((config.http.len(), config.udp.len()), (0, 1));
    assert!(!config.default_addresses && Config::new(Options::default()).unwrap().default_addresses);
}

#[test]
fn what_needs_swarms_in_memory_is_refused_elsewhere() {
    let shared = "store = \"redis://localhost\"\n";
    let options = |text: &str| toml::from_str::<Options>(&[shared, text].concat()).unwrap();
    let config = Config::new(options("store-prefix = \"a:\"")).unwrap();
    assert!(matches!(config.store, Place::Redis(_)) && config.store_prefix == "a:");
    assert!(refusal(&[shared, "state = \"/var/lib/hub\""].concat()).contains("the setting state"));
    assert!(refusal(&[shared, "full-scrape = true"].concat()).contains("the setting full-scrape"));
    assert!(refusal("store-prefix = \"a{b}\"").contains("braces"));
    assert!(refusal("\nstore = \"disk\"").starts_with("hub.toml:2: "));
}

#[test]
fn parts_are_those_that_are_named_or_switched_on() {
    let set = |text: &str| Config::new(toml::from_str(text).unwrap()).unwrap();
    assert_eq!(set("").parts, [Part::Tracker]);
    assert_eq!(set("dht = true").parts, [Part::Tracker, Part::Dht]);
    assert_eq!(set("dht = true\nonly = [\"tracker\"]").parts, [Part::Tracker]);
    let alone = set("only = [\"dht\"]");
    assert!(alone.parts == [Part::Dht] && alone.http.is_empty() && alone.udp.len() == 2);
    assert!(refusal("dht = true\nhttp = [\"127.0.0.1:1\"]").contains("the DHT node needs an address"));
    assert!(refusal("only = []").contains("empty"));
    assert!(refusal("dht-rate = \"1KiB\"").contains("at least 16KiB"));
}

#[test]
fn the_dht_begins_with_known_nodes_with_others_or_with_none() {
    let leads = |args: &[&str]| Config::new(flags(args)).unwrap().dht_bootstrap;
    assert_eq!(leads(&[]).len(), 4);
    assert_eq!(leads(&["--dht-bootstrap", "none"]), []);
    let some = leads(&["--dht-bootstrap", "a.example:1,[::1]:2", "--dht-bootstrap", "192.0.2.1:3"]);
    assert_eq!(some.iter().map(|host| host.port()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(refusal("dht-bootstrap = [\"host\"]").contains("not a host with a port"));
}
