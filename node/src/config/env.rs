//! Overrides from the environment: the key `http.listen` is the variable `CAUSEWAY_HTTP_LISTEN`.
//!
//! The name is `CAUSEWAY_`, then the key's path in capitals with `_` for each dot. A variable wins over the file.
//! Other variables that begin with `CAUSEWAY_` are left alone, because platforms set such ones by themselves (a
//! Kubernetes service named causeway makes `CAUSEWAY_PORT`); one that is nearly a key is worth a note.

use crate::config::fault::{Fault, Origin};
use crate::config::file::{Draft, Setting};
use crate::config::keys::{self, Form, Key, Value};
use crate::config::suggest::distance;

/// What the names of all our variables begin with.
pub const PREFIX: &str = "CAUSEWAY_";

/// How many slips of the keyboard still make a variable look like one of ours.
const NEAR: usize = 2;

/// The variable that overrides a key.
#[must_use]
pub fn variable(key: &Key) -> String {
    format!("{PREFIX}{}", key.path.replace('.', "_").to_uppercase())
}

/// Puts overrides into the draft; returns notes about variables that look mistyped.
pub fn apply(
    draft: &mut Draft,
    variables: impl IntoIterator<Item = (String, String)>,
    faults: &mut Vec<Fault>,
) -> Vec<String> {
    let known: Vec<(String, &Key)> = keys::all().map(|key| (variable(key), key)).collect();
    let mut notes = Vec::new();
    for (name, text) in variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let Some((_, key)) = known.iter().find(|(variable, _)| *variable == name) else {
            let near = known.iter().find(|(variable, _)| distance(variable, &name) <= NEAR);
            notes.extend(near.map(|(variable, _)| format!("{name} is not read; did you mean {variable}?")));
            continue;
        };
        let origin = Origin::Variable(name);
        match read(key, &text) {
            Some(value) => {
                draft.settings.insert(key.path, Setting { value, origin });
            }
            None => {
                let (reason, remedy) = match key.form {
                    Form::Switch => ("the value is neither true nor false", "give true or false"),
                    _ => ("the value is not an integer", "give digits only, without a unit"),
                };
                faults.push(Fault::new(key.path, origin, reason, remedy).value(&text));
            }
        }
    }
    notes.sort();
    notes
}

fn read(key: &Key, text: &str) -> Option<Value> {
    match key.form {
        Form::Integer { .. } => text.trim().parse().ok().map(Value::Integer),
        Form::Switch => text.trim().parse().ok().map(Value::Switch),
        _ => Some(Value::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_variable_wins_over_the_file() {
        let text = "version = 1\n[http]\nlisten = \"127.0.0.1:1\"\n";
        let set = variables(&[("CAUSEWAY_HTTP_LISTEN", "127.0.0.1:2"), ("CAUSEWAY_NODE_ID", " 9 ")]);
        let config = crate::config::parse(text, "f", set).expect("valid").config;
        assert_eq!(config.http.listen.port(), 2);
        assert_eq!(config.node.id.0, 9);
    }

    #[test]
    fn strangers_are_left_alone_and_slips_are_noted() {
        let set =
            variables(&[("CAUSEWAY_PORT", "tcp://10.0.0.1:80"), ("CAUSEWAY_TOKEN", "t"), ("CAUSEWAY_NODE_IDD", "3")]);
        let loaded = crate::config::parse("version = 1", "f", set).expect("valid");
        assert_eq!(loaded.notes, ["CAUSEWAY_NODE_IDD is not read; did you mean CAUSEWAY_NODE_ID?"]);
    }

    #[test]
    fn a_switch_is_set_by_its_variable_or_refused() {
        let parse = |value| crate::config::parse("version = 1", "f", variables(&[("CAUSEWAY_RELAY_ENABLED", value)]));
        assert!(!parse("false").expect("valid").config.relay.enabled);
        assert!(parse("true").expect("valid").config.relay.enabled);
        let text = parse("off").expect_err("no switch").to_string();
        assert!(text.contains("relay.enabled") && text.contains("neither true nor false"), "{text}");
    }

    #[test]
    fn a_fault_names_the_variable() {
        let set = variables(&[("CAUSEWAY_HTTP_LISTEN", "0.0.0.0:7500")]);
        let faults = crate::config::parse("version = 1", "f", set).expect_err("not loopback");
        let text = faults.to_string();
        assert!(text.contains("environment variable CAUSEWAY_HTTP_LISTEN"), "{text}");
        assert!(text.contains("CWY-0203"), "{text}");
    }
}
