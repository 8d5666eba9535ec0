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
}

#[test]
fn naming_one_address_replaces_all_defaults() {
    let config = Config::new(flags(&["--http", "127.0.0.1:0"])).unwrap();
    assert_eq!(config.http.len(), 1);
    assert!(!config.default_addresses && Config::new(Options::default()).unwrap().default_addresses);
}
