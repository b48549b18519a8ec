//! The user properties that a JSON object stands for.
//!
//! Strings stand for themselves, numbers and truth values for their text, arrays and objects for their JSON. A member
//! that is null or an empty string is left out, because a message cannot hold it. Names that a transform may not set
//! ([`refusal`]) are left out too when a message brings them; when a specification writes them, that is a fault.

use causeway_core::provenance::{ORIGINAL_PROPERTY, PROPERTY};

use super::fault::{OutgoingField, Reason, RecordError};
use super::output::members;
use crate::event::{has_separator, is_system_property};
use crate::json::Json;

/// RocketMQ's name for what tells messages apart. EventBridge's own example sets it, and brokers do not act on it.
const UNIQUE_KEY: &str = "UNIQ_KEY";

/// Why a name may not be set as a property.
pub(super) fn refusal(name: &str) -> Option<Reason> {
    let own_field = |field| Some(Reason::OwnField(name.to_owned(), field));
    match name {
        "KEYS" => own_field(OutgoingField::Keys),
        "TAGS" => own_field(OutgoingField::Tags),
        "__SHARDINGKEY" => own_field(OutgoingField::ShardingKey),
        UNIQUE_KEY => None,
        _ if is_system_property(name) || [PROPERTY, ORIGINAL_PROPERTY].contains(&name) => {
            Some(Reason::ReservedProperty(name.to_owned()))
        }
        _ => None,
    }
}

/// The names that a text sets, those included that may not be set.
pub(super) fn names(text: &str) -> Vec<String> {
    match Json::parse(text) {
        Ok(Json::Object(object)) => object.into_iter().map(|member| member.0).collect(),
        _ => Vec::new(),
    }
}

/// Reads the properties; none for a blank text.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, RecordError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let Json::Object(object) = Json::parse(text).map_err(RecordError::PropertiesNotJson)? else {
        return Err(RecordError::PropertiesNotAnObject);
    };
    let mut properties = Vec::with_capacity(object.len());
    for (name, value) in members(&object, &[]) {
        let value = if *value == Json::Null { "".into() } else { value.to_text() };
        if name.is_empty() {
            return Err(RecordError::NoPropertyName);
        }
        if refusal(name).is_some() || value.is_empty() {
            continue;
        }
        if has_separator(name) || has_separator(&value) {
            return Err(RecordError::Separator { field: OutgoingField::Properties, name: Some(name.to_owned()) });
        }
        properties.push((name.to_owned(), value.into_owned()));
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_become_properties() {
        for (text, expected) in [
            ("", ""),
            ("  \n", ""),
            ("{}", ""),
            (r#"{"a":"1","b":"x\"y"}"#, "a=1;b=x\"y;"),
            (
                r#"{"n":1.50,"big":123456789012345678901234567890,"t":true,"f":false}"#,
                "n=1.50;big=123456789012345678901234567890;t=true;f=false;",
            ),
            (r#"{"o": {"x": [1, "y"]}, "l": []}"#, "o={\"x\":[1,\"y\"]};l=[];"),
            (r#"{"null":null,"empty":"","last":"1","last":"2"}"#, "last=2;"),
            (r#"{"last":"1","last":null}"#, ""),
            (r#"{"two words":" v ","ü":"ö"}"#, "two words= v ;ü=ö;"),
            (r#"{"DELAY":"3","TRAN_MSG":true,"WAIT":"false","REAL_TOPIC":"t","TIMER_DELIVER_MS":1,"PGROUP":"g"}"#, ""),
            (r#"{"KEYS":"k","TAGS":"t","__SHARDINGKEY":"s","UNIQ_KEY":"u"}"#, "UNIQ_KEY=u;"),
            (r#"{"CAUSEWAY":"c","CAUSEWAY_ORIGINAL":"o","causeway":"x","delay":"3"}"#, "causeway=x;delay=3;"),
            (r#"{"DELAY":"\u0001"}"#, ""),
        ] {
            let properties = parse(text).unwrap();
            let shown: String = properties.iter().map(|(name, value)| format!("{name}={value};")).collect();
            assert_eq!(shown, expected, "{text}");
        }
    }

    #[test]
    fn what_no_message_can_hold_is_an_error() {
        let separator =
            |name: &str| Err(RecordError::Separator { field: OutgoingField::Properties, name: Some(name.to_owned()) });
        for (text, expected) in [
            ("[]", Err(RecordError::PropertiesNotAnObject)),
            ("\"a\"", Err(RecordError::PropertiesNotAnObject)),
            ("null", Err(RecordError::PropertiesNotAnObject)),
            (r#"{"":"x"}"#, Err(RecordError::NoPropertyName)),
            (r#"{"":null}"#, Err(RecordError::NoPropertyName)),
            (r#"{"a":"x\u0001y"}"#, separator("a")),
            (r#"{"a":"x\u0002"}"#, separator("a")),
            (r#"{"a\u0002":"x"}"#, separator("a\u{2}")),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert!(matches!(parse("{\"a\":"), Err(RecordError::PropertiesNotJson(_))));
        assert!(matches!(parse("a=b"), Err(RecordError::PropertiesNotJson(_))));
    }

    #[test]
    fn names_that_may_not_be_set_are_told_apart() {
        assert_eq!(refusal("KEYS"), Some(Reason::OwnField("KEYS".to_owned(), OutgoingField::Keys)));
        assert_eq!(refusal("TAGS"), Some(Reason::OwnField("TAGS".to_owned(), OutgoingField::Tags)));
        for name in
            ["DELAY", "TRAN_MSG", "WAIT", "REAL_TOPIC", "TIMER_OUT_MS", "CLUSTER", "__RMQ.TRANSIENT.x", PROPERTY]
        {
            assert_eq!(refusal(name), Some(Reason::ReservedProperty(name.to_owned())), "{name}");
        }
        for name in ["UNIQ_KEY", "orderId", "keys", ""] {
            assert_eq!(refusal(name), None, "{name}");
        }
        assert_eq!(names(r#"{"a":1,"KEYS":2}"#), ["a", "KEYS"]);
        assert!(names("[]").is_empty() && names("").is_empty());
    }
}
