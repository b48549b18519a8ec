//! Turns requests into what is proposed, or names everything that is wrong with them at once.
//!
//! Pure except for sealing secrets, which comes last, when nothing else is wrong.

use causeway_core::error_code::ErrorCode;
use causeway_core::ids::{InstanceIdentity, Timestamp};
use causeway_core::instance::{CredentialReferences, InstanceSpec, SecretReference};
use causeway_core::name::Name;
use causeway_core::state::State;
use causeway_core::stream::{Endpoint, StartPosition, StreamSpec};
use causeway_rocketmq::ClientSettings;
use causeway_rules::tag::TagExpression;

use super::answer::RequestFault;
use super::model::instance::{CreateInstance, RocketmqSettings, SecretInput};
use super::model::stream::CreateStream;
use super::topic_name;
use crate::secrets::{SecretStore, parse_reference};

/// The most name servers that an instance may list.
pub const MAXIMUM_NAME_SERVERS: usize = 16;

/// 1973 as milliseconds: no RocketMQ broker stored a message before, so a smaller number was meant as seconds.
const SMALLEST_BELIEVABLE_TIME: i64 = 100_000_000_000;

/// How far the clocks of a client and the node may be apart.
const CLOCK_TOLERANCE_MILLISECONDS: i64 = 24 * 3_600_000;

/// A list of faults that grows while a request is looked at.
struct Faults(Vec<RequestFault>);

impl Faults {
    fn add(&mut self, code: ErrorCode, field: &str, message: impl ToString) {
        self.0.push(RequestFault::of(code, field, message.to_string()));
    }

    fn name(&mut self, field: &str, text: &str) -> Option<Name> {
        Name::new(text).map_err(|invalid| self.add(ErrorCode::InvalidRequest, field, invalid)).ok()
    }

    fn end<T>(self, value: Option<T>) -> Result<T, Vec<RequestFault>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}

/// Checks a new stream against the agreed state.
///
/// # Errors
/// Every fault, in the order of the fields.
pub fn stream(request: &CreateStream, view: &State, now: Timestamp) -> Result<StreamSpec, Vec<RequestFault>> {
    let mut faults = Faults(Vec::new());
    let name = faults.name("name", &request.name);
    if name.as_ref().is_some_and(|name| view.streams.contains_key(name)) {
        faults.add(
            ErrorCode::NameTaken,
            "name",
            format!("stream {} exists already; choose another name", request.name),
        );
    }
    let source = endpoint(&mut faults, view, "source", &request.source.instance, &request.source.topic);
    if let Err(message) = check_start(request.source.start, now) {
        faults.add(ErrorCode::InvalidRequest, "source.start", message);
    }
    let tag = &request.source.filter.tag;
    if let Err(error) = TagExpression::parse(tag) {
        faults.add(ErrorCode::InvalidFilter, "source.filter.tag", error);
    }
    let target = endpoint(&mut faults, view, "target", &request.target.instance, &request.target.topic);
    if let (Some(source), Some(target)) = (&source, &target)
        && is_same_topic(view, source, target)
    {
        let message = if source.instance == target.instance {
            "source and target are the same topic of the same instance: every copy would be copied again"
        } else {
            "source and target are the same topic: both instances have a name server in common, so every copy would be \
             copied again"
        };
        faults.add(ErrorCode::SameTopic, "target.topic", message);
    }
    let spec = name.zip(source).zip(target).map(|((name, source), target)| StreamSpec {
        name,
        source,
        target,
        start: request.source.start,
        tag_expression: tag.clone(),
        run: request.run.into(),
    });
    if let Some(twin) = spec.as_ref().and_then(|spec| twin(view, spec)) {
        let message = format!(
            "stream {twin} copies between these topics already: every message that both take would be stored twice; \
             choose tags that it leaves out, or delete it first"
        );
        faults.add(ErrorCode::CopiedAlready, "target.topic", message);
    }
    faults.end(spec)
}

/// A stream of another name between the same topics that takes some of the same messages.
fn twin<'a>(view: &'a State, spec: &StreamSpec) -> Option<&'a Name> {
    let others = view.streams.values().map(|stream| &stream.spec).filter(|other| other.name != spec.name);
    let mut twins = others.filter(|other| {
        is_same_topic(view, &other.source, &spec.source)
            && is_same_topic(view, &other.target, &spec.target)
            && other.shares_a_tag_with(spec)
    });
    twins.next().map(|twin| &twin.name)
}

/// Whether two ends are one topic, as far as the instances' settings tell: a name server knows one topic of a name.
fn is_same_topic(view: &State, one: &Endpoint, other: &Endpoint) -> bool {
    let servers = |end: &Endpoint| view.instances.get(&end.instance).map(|instance| &instance.spec.name_servers);
    let shared = || match (servers(one), servers(other)) {
        (Some(one), Some(other)) => one.iter().any(|server| other.contains(server)),
        _ => false,
    };
    one.topic == other.topic && (one.instance == other.instance || shared())
}

fn endpoint(faults: &mut Faults, view: &State, end: &str, instance: &str, topic: &str) -> Option<Endpoint> {
    let field = format!("{end}.instance");
    let instance = faults.name(&field, instance);
    if let Some(missing) = instance.as_ref().filter(|name| !view.instances.contains_key(*name)) {
        let message = format!("there is no instance {missing}; {}", known(view));
        faults.add(ErrorCode::NoSuchInstance, &field, message);
    }
    let checked = topic_name::check(topic);
    if let Err(error) = &checked {
        faults.add(ErrorCode::InvalidRequest, &format!("{end}.topic"), error);
    }
    checked.ok()?;
    Some(Endpoint { instance: instance?, topic: topic.to_owned() })
}

fn known(view: &State) -> String {
    let names: Vec<&str> = view.instances.keys().take(8).map(Name::as_str).collect();
    if names.is_empty() { "none is registered yet".to_owned() } else { format!("registered are {}", names.join(", ")) }
}

/// Checks a start position.
///
/// # Errors
/// What is wrong with it.
pub fn check_start(start: StartPosition, now: Timestamp) -> Result<(), String> {
    match start {
        StartPosition::Earliest | StartPosition::Latest => Ok(()),
        StartPosition::Offset(offset) if offset >= 0 => Ok(()),
        StartPosition::Offset(offset) => Err(format!("a queue offset is never negative, as {offset} is")),
        StartPosition::Timestamp(time) if time < SMALLEST_BELIEVABLE_TIME => {
            Err(format!("{time} is too early for milliseconds since 1970; were seconds meant?"))
        }
        StartPosition::Timestamp(time) if time > now.0.saturating_add(CLOCK_TOLERANCE_MILLISECONDS) => {
            Err(format!("{time} is in the future; use \"latest\" to copy what comes from now on"))
        }
        StartPosition::Timestamp(_) => Ok(()),
    }
}

/// Checks an instance, then seals the secrets that were given as values. `registered` is what a change may keep.
///
/// # Errors
/// Every fault, in the order of the fields. No secret is repeated in one.
pub fn instance(
    request: &CreateInstance,
    registered: Option<&CredentialReferences>,
    secrets: &SecretStore,
) -> Result<(InstanceSpec, Option<InstanceIdentity>), Vec<RequestFault>> {
    let mut faults = Faults(Vec::new());
    let name = faults.name("name", &request.name);
    let region = faults.name("region", &request.region);
    let identity = request.identity.as_deref().and_then(|text| {
        text.parse().map_err(|invalid| faults.add(ErrorCode::InvalidRequest, "identity", invalid)).ok()
    });
    let settings = &request.rocketmq;
    name_servers(&mut faults, &settings.name_servers);
    let credentials = credentials(&mut faults, settings, registered, secrets);
    tls(&mut faults, settings);
    let spec = name.zip(region).map(|(name, region)| InstanceSpec {
        name,
        region,
        name_servers: settings.name_servers.clone(),
        credentials,
        tls: settings.tls.clone().map(Into::into),
    });
    faults.end(spec.map(|spec| (spec, identity)))
}

fn name_servers(faults: &mut Faults, addresses: &[String]) {
    const FIELD: &str = "rocketmq.name_servers";
    if addresses.is_empty() {
        faults.add(ErrorCode::InvalidRequest, FIELD, "name at least one name server, as \"10.0.0.5:9876\"");
    }
    if addresses.len() > MAXIMUM_NAME_SERVERS {
        let message = format!("at most {MAXIMUM_NAME_SERVERS} name servers; {} were given", addresses.len());
        return faults.add(ErrorCode::InvalidRequest, FIELD, message);
    }
    for (position, address) in addresses.iter().enumerate() {
        let field = format!("{FIELD}[{position}]");
        if ClientSettings::new(vec![address.clone()]).validate().is_err() {
            faults.add(
                ErrorCode::InvalidRequest,
                &field,
                "a name server is host:port, as \"10.0.0.5:9876\" or \"[fd00::5]:9876\"",
            );
        } else if addresses.iter().take(position).any(|earlier| earlier == address) {
            faults.add(ErrorCode::InvalidRequest, &field, format!("{address} is listed twice"));
        }
    }
}

fn credentials(
    faults: &mut Faults,
    settings: &RocketmqSettings,
    registered: Option<&CredentialReferences>,
    secrets: &SecretStore,
) -> Option<CredentialReferences> {
    let RocketmqSettings { access_key, secret, security_token, .. } = settings;
    match (access_key, secret) {
        (Some(_), None) => faults.add(ErrorCode::InvalidRequest, "rocketmq.secret", "an access key needs its secret"),
        (None, Some(_)) => {
            faults.add(ErrorCode::InvalidRequest, "rocketmq.access_key", "a secret needs its access key")
        }
        (None, None) if security_token.is_some() => {
            let message = "a security token comes with an access key and a secret";
            faults.add(ErrorCode::InvalidRequest, "rocketmq.access_key", message);
        }
        _ => {}
    }
    let mut refer = |field: &str, input: &Option<SecretInput>, registered: Option<&SecretReference>| {
        let input = input.as_ref()?;
        reference(input, registered, secrets).map_err(|(code, why)| faults.add(code, field, why)).ok()
    };
    let access_key = refer("rocketmq.access_key", access_key, registered.map(|parts| &parts.access_key));
    let secret = refer("rocketmq.secret", secret, registered.map(|parts| &parts.secret));
    let registered_token = registered.and_then(|parts| parts.security_token.as_ref());
    let security_token = refer("rocketmq.security_token", security_token, registered_token);
    Some(CredentialReferences { access_key: access_key?, secret: secret?, security_token })
}

fn reference(
    input: &SecretInput,
    registered: Option<&SecretReference>,
    secrets: &SecretStore,
) -> Result<SecretReference, (ErrorCode, String)> {
    let named = |text: String| parse_reference(&text).map_err(|error| (ErrorCode::InvalidRequest, error.to_string()));
    match input {
        SecretInput::Env(name) => named(format!("env:{name}")),
        SecretInput::File(path) => named(format!("file:{path}")),
        SecretInput::Kept {} => registered.cloned().ok_or_else(|| {
            (ErrorCode::InvalidRequest, "none is registered that could be kept; say where it is".to_owned())
        }),
        SecretInput::Value(text) => secrets.seal(text.expose()).map_err(|error| {
            let unfit = matches!(error, crate::secrets::Error::Unfit { .. });
            (if unfit { ErrorCode::InvalidRequest } else { error.code() }, error.to_string())
        }),
    }
}

fn tls(faults: &mut Faults, settings: &RocketmqSettings) {
    let Some(tls) = &settings.tls else { return };
    let absolute = |path: &str| path.starts_with('/') && !path.contains('\0');
    let files = [
        ("rocketmq.tls.certificate_authority_file", Some(&tls.certificate_authority_file)),
        ("rocketmq.tls.certificate_file", tls.certificate_file.as_ref()),
        ("rocketmq.tls.key_file", tls.key_file.as_ref()),
    ];
    for (field, _) in files.iter().filter(|(_, path)| path.is_some_and(|path| !absolute(path))) {
        faults.add(ErrorCode::InvalidRequest, field, "give the absolute path of a PEM file on the node");
    }
    match (&tls.certificate_file, &tls.key_file) {
        (Some(_), None) => {
            faults.add(ErrorCode::InvalidRequest, "rocketmq.tls.key_file", "a certificate needs its key")
        }
        (None, Some(_)) => {
            faults.add(ErrorCode::InvalidRequest, "rocketmq.tls.certificate_file", "a key needs its certificate");
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
