//! The variables of a template: names, and what each stands for.

use super::fault::Reason;
use super::output::not_null;
use crate::event::{self, Field, Fields};
use crate::json::Json;
use crate::path::{self, Path};

/// What a variable stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Path(Path),
    Literal(Json),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    name: String,
    meaning: Meaning,
    used: bool,
}

/// The variables of one template, in the order of the specification. Only those that are used are ever evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Variables(Vec<Variable>);

/// A fault of the variables: the variable, the position, the reason.
pub(super) type VariableFault = (Option<String>, Option<usize>, Reason);

impl Variables {
    /// Reads a flat JSON object; no variables for a blank text. With faults the variables keep their names, so that
    /// a template can be judged all the same.
    pub(super) fn parse(text: &str, faults: &mut Vec<VariableFault>) -> Self {
        let mut variables = Self::default();
        if text.trim().is_empty() {
            return variables;
        }
        let object = match Json::parse(text) {
            Ok(Json::Object(object)) => object,
            Ok(_) => {
                faults.push((None, None, Reason::ValueNotAnObject));
                return variables;
            }
            Err(error) => {
                faults.push((None, None, Reason::ValueNotJson(error)));
                return variables;
            }
        };
        for (name, value) in object {
            let meaning = meaning(value).unwrap_or_else(|(position, reason)| {
                faults.push((Some(name.clone()), position, reason));
                Meaning::Literal(Json::Null)
            });
            if variables.0.iter().any(|variable| variable.name == name) {
                faults.push((Some(name.clone()), None, Reason::VariableTwice));
            }
            variables.0.push(Variable { name, meaning, used: false });
        }
        variables
    }

    /// The number of a variable, which is used from now on.
    pub(super) fn number(&mut self, name: &str) -> Option<usize> {
        let number = self.0.iter().position(|variable| variable.name == name)?;
        self.0.get_mut(number)?.used = true;
        Some(number)
    }

    pub(super) fn name(&self, number: usize) -> &str {
        self.0.get(number).map_or("", |variable| &variable.name)
    }

    pub(super) fn needs_body(&self) -> bool {
        self.0.iter().any(|variable| match &variable.meaning {
            Meaning::Path(path) => variable.used && path.needs_body(),
            Meaning::Literal(_) => false,
        })
    }

    /// The values of those that are used, by number; none where an event has none, or null.
    pub(super) fn values<'e>(&'e self, event: &'e impl Fields) -> Result<Vec<Option<Field<'e>>>, event::Error> {
        let value = |variable: &'e Variable| match &variable.meaning {
            _ if !variable.used => Ok(None),
            Meaning::Path(path) => Ok(path.find(event)?.and_then(not_null)),
            Meaning::Literal(json) => Ok(Some(Field::Json(std::borrow::Cow::Borrowed(json)))),
        };
        self.0.iter().map(value).collect()
    }
}

fn meaning(value: Json) -> Result<Meaning, (Option<usize>, Reason)> {
    match value {
        Json::Text(text) if text.trim_start().starts_with('$') => Path::parse(&text)
            .map(Meaning::Path)
            .map_err(|error: path::Error| (error.position(), Reason::Variable(error))),
        Json::Text(_) | Json::Number(_) | Json::Bool(_) => Ok(Meaning::Literal(value)),
        Json::Null | Json::Array(_) | Json::Object(_) => Err((None, Reason::VariableNotFlat)),
    }
}
