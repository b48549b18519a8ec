//! From a specification to rules: all faults of all fields at once.

use super::fault::{Fault, Member, OutgoingField, Reason, RecordError};
use super::template::Template;
use super::variables::Variables;
use super::{FieldSpecification, Limits, MAXIMUM_CHARACTERS, Rule, body, change, properties, user_properties};
use crate::json::Json;
use crate::path::Path;

/// Compiles the fields of one specification.
pub(super) struct Compiler {
    pub(super) limits: Limits,
    pub(super) faults: Vec<Fault>,
}

impl Compiler {
    /// The rule of a field; none with a fault.
    pub(super) fn field(&mut self, field: OutgoingField, specification: &FieldSpecification<'_>) -> Option<Rule> {
        let value = specification.value.unwrap_or_default();
        let form = match specification.form.map(str::trim).filter(|form| !form.is_empty()) {
            None if field == OutgoingField::ShardingKey => "CONSTANT".to_owned(),
            form => form.unwrap_or_default().to_ascii_uppercase(),
        };
        let form_fault = match &*form {
            "ORIGINAL" if field == OutgoingField::Body => return Some(Rule::Path(Path::default())),
            "CONSTANT" => return self.constant(field, value),
            "JSONPATH" => return self.path(field, value),
            "TEMPLATE" => return self.template(field, value, specification.template),
            "ORIGINAL" => Reason::OriginalIsForTheBody,
            "" => Reason::NoForm,
            _ => Reason::UnknownForm(specification.form.unwrap_or_default().to_owned()),
        };
        self.fault(field, Member::Form, None, form_fault);
        None
    }

    fn fault(&mut self, field: OutgoingField, member: Member, position: Option<usize>, reason: Reason) {
        self.faults.push(Fault { field, member, variable: None, position, reason });
    }

    fn is_short(&mut self, field: OutgoingField, member: Member, text: &str) -> bool {
        let length = text.chars().count();
        if length > MAXIMUM_CHARACTERS {
            self.fault(field, member, None, Reason::TooLong(length));
        }
        length <= MAXIMUM_CHARACTERS
    }

    fn constant(&mut self, field: OutgoingField, value: &str) -> Option<Rule> {
        if !self.is_short(field, Member::Value, value) {
            return None;
        }
        if field == OutgoingField::Properties {
            for name in properties::names(value) {
                self.check_name(field, Member::Value, None, &name);
            }
        }
        self.never_fails(field, Member::Value, Rule::Constant(value.to_owned()))
    }

    fn path(&mut self, field: OutgoingField, value: &str) -> Option<Rule> {
        if !self.is_short(field, Member::Value, value) {
            return None;
        }
        if value.trim().is_empty() {
            self.fault(field, Member::Value, None, Reason::NoPath);
            return None;
        }
        match Path::parse(value) {
            Ok(path) => Some(Rule::Path(path)),
            Err(error) => {
                self.fault(field, Member::Value, error.position(), Reason::Path(error));
                None
            }
        }
    }

    fn template(&mut self, field: OutgoingField, value: &str, template: Option<&str>) -> Option<Rule> {
        let before = self.faults.len();
        let mut variables = Variables::default();
        if self.is_short(field, Member::Value, value) {
            let mut found = Vec::new();
            variables = Variables::parse(value, &mut found);
            let member = Member::Value;
            let faults = found.into_iter().map(|(variable, position, reason)| Fault {
                field,
                member,
                variable,
                position,
                reason,
            });
            self.faults.extend(faults);
        }
        // Without names there is nothing that the placeholders of the template could be judged by.
        let named = self.faults.iter().skip(before).all(|fault| fault.variable.is_some());
        let Some(text) = template else {
            self.fault(field, Member::Template, None, Reason::NoTemplate);
            return None;
        };
        if !self.is_short(field, Member::Template, text) || !named {
            return None;
        }
        let (template, findings) = Template::compile(text, variables);
        let sound = findings.faults.is_empty();
        for (position, reason) in findings.faults {
            self.fault(field, Member::Template, Some(position), reason);
        }
        if field == OutgoingField::Properties {
            if sound && !findings.may_be_object {
                self.fault(field, Member::Template, None, Reason::PropertiesNotAnObject);
            }
            for (position, name) in findings.names {
                self.check_name(field, Member::Template, Some(position), &name);
            }
        }
        if self.faults.len() > before {
            return None;
        }
        let constant = template.constant().map(str::to_owned);
        match constant {
            Some(text) => self.never_fails(field, Member::Template, Rule::Constant(text)),
            None => Some(Rule::Template(template)),
        }
    }

    fn check_name(&mut self, field: OutgoingField, member: Member, position: Option<usize>, name: &str) {
        if let Some(reason) = properties::refusal(name) {
            self.fault(field, member, position, reason);
        }
    }

    /// A rule that needs no event is tried at once.
    fn never_fails(&mut self, field: OutgoingField, member: Member, rule: Rule) -> Option<Rule> {
        let no_event = Json::Null;
        let tried = match field {
            OutgoingField::Body => body(&rule, &no_event, self.limits).map(|_| ()),
            OutgoingField::Properties => user_properties(&rule, &no_event, self.limits).map(|_| ()),
            _ => change(field, Some(&rule), &no_event, self.limits).map(|_| ()),
        };
        match tried {
            Ok(()) => Some(rule),
            Err(RecordError::PropertiesNotAnObject | RecordError::PropertiesNotJson(_)) => {
                self.fault(field, member, None, Reason::PropertiesNotAnObject);
                None
            }
            Err(error) => {
                self.fault(field, member, None, Reason::Never(error));
                None
            }
        }
    }
}
