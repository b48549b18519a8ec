//! `causeway rule ...`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::admin::model::rule::RuleBodyFormat;

/// The heading of what a message is made of.
const MESSAGE: &str = "Message";

/// Rules.
#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Try a tag expression, an SQL92 expression or an event pattern on one message, and see why it is kept or left out
    Test(Box<RuleTestArguments>),
}

/// Rules and a message, or an event.
#[derive(Debug, Args)]
pub struct RuleTestArguments {
    /// Tag expression: *, or tags joined by ||
    #[arg(long, value_name = "EXPRESSION")]
    pub tag: Option<String>,
    /// SQL92 expression over properties: amount > 100 AND region = 'cn-hangzhou'
    #[arg(long, value_name = "EXPRESSION", allow_hyphen_values = true)]
    pub sql: Option<String>,
    /// Event pattern as JSON; @FILE reads it from a file
    #[arg(long, value_name = "JSON")]
    pub pattern: Option<String>,
    /// File with the JSON of a CloudEvent to try them on, - for standard input; instead of a message
    #[arg(long, value_name = "FILE", conflicts_with_all = ["message_tag", "message_keys", "properties", "body", "body_format", "topic", "instance", "region"])]
    pub event: Option<PathBuf>,
    /// The message's tag
    #[arg(long, value_name = "TAG", help_heading = MESSAGE)]
    pub message_tag: Option<String>,
    /// The message's keys
    #[arg(long, value_name = "KEYS", help_heading = MESSAGE)]
    pub message_keys: Option<String>,
    /// A property of the message; repeatable
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property, help_heading = MESSAGE)]
    pub properties: Vec<(String, String)>,
    /// Its body; @FILE reads it from a file
    #[arg(long, value_name = "TEXT", help_heading = MESSAGE, allow_hyphen_values = true)]
    pub body: Option<String>,
    /// What a pattern sees of the body: text, json (its fields) or binary (base64)
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = MESSAGE, hide_possible_values = true)]
    pub body_format: Option<BodyFormat>,
    /// Its topic
    #[arg(long, value_name = "TOPIC", help_heading = MESSAGE)]
    pub topic: Option<String>,
    /// Name of the instance that it comes from
    #[arg(long, value_name = "NAME", help_heading = MESSAGE)]
    pub instance: Option<String>,
    /// Region label of that instance
    #[arg(long, value_name = "REGION", help_heading = MESSAGE)]
    pub region: Option<String>,
}

/// What a pattern sees of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BodyFormat {
    /// The body as a string
    Text,
    /// The JSON value that it is the text of
    Json,
    /// The body in base64
    Binary,
}

impl From<BodyFormat> for RuleBodyFormat {
    fn from(format: BodyFormat) -> Self {
        match format {
            BodyFormat::Text => Self::Text,
            BodyFormat::Json => Self::Json,
            BodyFormat::Binary => Self::Binary,
        }
    }
}

fn property(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write NAME=VALUE".to_owned())
}
