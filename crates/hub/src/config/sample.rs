//! The sample file and the defaults, made from the list of settings.

use clap::Args;

use super::error::ConfigError;
use super::options::Options;

/// Width of the sample's comments.
const WIDTH: usize = 100;

const PREFACE: &str = "\
# The settings of `samara hub`; `samara hub --check-config --config FILE` checks a file like this one.
#
# A setting is also a flag, `--interval 30m`, and an environment variable, `SAMARA_HUB_INTERVAL=30m` (lists with commas).
# A flag goes before a variable, a variable before this file. What begins with a single # below is the default,
# or, where the comment gives none, an example of what is off.
";

impl Options {
    /// What holds where nothing else is said.
    pub(crate) fn defaults() -> Result<Self, ConfigError> {
        let all = Self::VALUES.iter().filter(|(.., is_default)| *is_default);
        let text: String =
            all.map(|(key, value, _)| format!("{} = {value}\n", key.replace('_', "-"))).collect();
        toml::from_str(&text).map_err(|cause| ConfigError::syntax("the defaults".as_ref(), &text, &cause))
    }
}

/// A file with every setting, commented out, under its explanation.
pub fn sample() -> String {
    let command = Options::augment_args(clap::Command::new("hub"));
    let mut out = PREFACE.to_owned();
    let mut heading = "";
    for (key, value, _) in Options::VALUES {
        let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == key) else { continue };
        let under = arg.get_help_heading().unwrap_or_default();
        if under != heading {
            heading = under;
            out.push_str(&format!("\n\n## {heading}\n"));
        }
        out.push('\n');
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        wrap(&help, &mut out);
        out.push_str(&format!("#{} = {value}\n", key.replace('_', "-")));
    }
    out
}

/// Writes words as comment lines.
fn wrap(text: &str, out: &mut String) {
    let mut line = String::from("##");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line.replace_range(2.., "");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}
