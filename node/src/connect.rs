//! Clients of the registered instances: made when first asked for, shared by everything that talks to the same
//! instance, replaced when the instance changes.
//!
//! Parts: [`Instances`] (the cache), [`Purpose`] (what a client is for), [`ReadFrom`] (who answers reads), [`Error`],
//! [`code_of`] (what a client's failure is called in front of people). Making a client resolves secrets and loads
//! certificates, which reads files; connecting happens later, when a request needs it. Never keeps a secret: a client
//! is built from it and holds only what signs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use causeway_core::error_code::ErrorCode;
use causeway_core::instance::{CredentialReferences, InstanceSpec, TlsSpec};
use causeway_core::name::Name;
use causeway_core::state::State;
use causeway_core::stream::SlaveReads;
use causeway_rocketmq::{Class, Client, ClientCertificate, ClientSettings, Credentials, TlsSettings, Trust};
use tokio::sync::watch;

use crate::config::ConnectionSection;
use crate::secrets::{self, SecretStore};

/// The group that pulls name. The prefix marks a system group, which brokers serve without a subscription; access
/// control still asks for its permission, so it is one constant that operators can grant.
pub const CONSUMER_GROUP: &str = "CID_RMQ_SYS_CAUSEWAY";

/// The group that sends name.
pub const PRODUCER_GROUP: &str = "CID_RMQ_SYS_CAUSEWAY_PRODUCER";

/// Why there is no client of an instance.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Register the instance.
    #[error("there is no instance {0}")]
    NoSuchInstance(Name),
    /// Repair what the credentials refer to.
    #[error("credentials of instance {instance}: {source}")]
    Secret {
        /// The instance.
        instance: Name,
        /// What is wrong with them.
        source: secrets::Error,
    },
    /// Change what the instance says: addresses, credentials or TLS files cannot be used.
    #[error("instance {instance}: {reason}")]
    Settings {
        /// The instance.
        instance: Name,
        /// What is wrong.
        reason: String,
        /// The stable code.
        code: ErrorCode,
    },
}

impl Error {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoSuchInstance(_) => ErrorCode::NoSuchInstance,
            Self::Secret { source, .. } => source.code(),
            Self::Settings { code, .. } => *code,
        }
    }
}

/// What a client is for. Each purpose has a client and so connections of its own: looking around never waits behind
/// messages that are copied, nor they behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Routes, topics, offsets: whatever people and discovery ask for. A slave answers while its master is gone.
    Look,
    /// Reading messages to copy, from where the stream's option allows.
    Source(SlaveReads),
    /// Reading messages for owners in other regions. One client for all threads: who reads one queue through it always
    /// reads over the same connection.
    Relay(SlaveReads),
    /// Writing copies. Reads go to masters only: what a read proves about a target queue has to be what its master
    /// holds.
    Target,
}

/// Who answers reads through a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// Masters only.
    Master,
    /// A slave while its master is gone.
    SlaveWhenMasterIsGone,
    /// A slave also when the master suggests it.
    SlaveWhenSuggested,
}

impl Purpose {
    fn reads(self) -> ReadFrom {
        match self {
            Self::Target | Self::Source(SlaveReads::Never) | Self::Relay(SlaveReads::Never) => ReadFrom::Master,
            Self::Look | Self::Source(SlaveReads::MasterGone) | Self::Relay(SlaveReads::MasterGone) => {
                ReadFrom::SlaveWhenMasterIsGone
            }
            Self::Source(SlaveReads::ColdCatchUp) | Self::Relay(SlaveReads::ColdCatchUp) => {
                ReadFrom::SlaveWhenSuggested
            }
        }
    }
}

/// Clients by instance.
pub struct Instances {
    view: watch::Receiver<Arc<State>>,
    secrets: Arc<SecretStore>,
    connection: ConnectionSection,
    /// A handful: one for each instance and purpose in use, and for those that copy one on each thread.
    clients: Mutex<Vec<Cached>>,
}

struct Cached {
    instance: Name,
    purpose: Purpose,
    /// The thread whose runtime reads its connections; none where that does not matter.
    thread: Option<ThreadId>,
    /// The version of the instance that the client was made from.
    version: u64,
    client: Client,
}

impl Instances {
    /// No clients yet.
    #[must_use]
    pub fn new(view: watch::Receiver<Arc<State>>, secrets: Arc<SecretStore>, connection: ConnectionSection) -> Self {
        Self { view, secrets, connection, clients: Mutex::default() }
    }

    /// The client of an instance as it is registered now, for looking around. Reads secret and certificate files when
    /// it has to be made.
    ///
    /// # Errors
    /// [`Error`], whose code says what to repair.
    pub fn client(&self, name: &Name) -> Result<Client, Error> {
        self.client_for(name, Purpose::Look, None)
    }

    fn client_for(&self, name: &Name, purpose: Purpose, thread: Option<ThreadId>) -> Result<Client, Error> {
        let instance = self.view.borrow().instances.get(name).cloned();
        let instance = instance.ok_or_else(|| Error::NoSuchInstance(name.clone()))?;
        let version = instance.version;
        let same = |cached: &Cached| cached.instance == *name && cached.purpose == purpose && cached.thread == thread;
        if let Some(cached) = self.lock().iter().find(|cached| same(cached) && cached.version == version) {
            return Ok(cached.client.clone());
        }
        // Made outside the lock, because it reads files. Of two callers at once both get one that works.
        let client = self.unregistered(&instance.spec, purpose.reads())?;
        let mut clients = self.lock();
        clients.retain(|cached| !same(cached));
        clients.push(Cached { instance: name.clone(), purpose, thread, version, client: client.clone() });
        Ok(client)
    }

    /// As [`Self::client`], for any purpose, with the file access away from the caller's thread. What copies gets a
    /// client for each thread: its answers are read where they are waited for, and wake nobody else.
    ///
    /// # Errors
    /// [`Error`], whose code says what to repair.
    pub async fn connect(self: &Arc<Self>, name: &Name, purpose: Purpose) -> Result<Client, Error> {
        let (instances, wanted) = (Arc::clone(self), name.clone());
        let thread = matches!(purpose, Purpose::Source(_) | Purpose::Target).then(|| thread::current().id());
        match tokio::task::spawn_blocking(move || instances.client_for(&wanted, purpose, thread)).await {
            Ok(made) => made,
            Err(error) => Err(Error::Settings {
                instance: name.clone(),
                reason: format!("making its client failed: {error}"),
                code: ErrorCode::Internal,
            }),
        }
    }

    /// A client that is not kept, of an instance that need not be registered: to try what an operator is about to say.
    ///
    /// # Errors
    /// [`Error`], whose code says what to repair.
    pub fn unregistered(&self, spec: &InstanceSpec, from: ReadFrom) -> Result<Client, Error> {
        let mut settings = ClientSettings::new(spec.name_servers.clone());
        settings.connect_timeout = self.connection.connect_timeout;
        settings.request_timeout = self.connection.request_timeout;
        settings.unacknowledged = self.connection.unacknowledged;
        settings.send_connections = self.connection.send_connections;
        CONSUMER_GROUP.clone_into(&mut settings.consumer_group);
        PRODUCER_GROUP.clone_into(&mut settings.producer_group);
        settings.slave_reads = match from {
            ReadFrom::Master => causeway_rocketmq::SlaveReads::Never,
            ReadFrom::SlaveWhenMasterIsGone => causeway_rocketmq::SlaveReads::WhenMasterIsGone,
            ReadFrom::SlaveWhenSuggested => causeway_rocketmq::SlaveReads::ColdCatchUp,
        };
        if let Some(references) = &spec.credentials {
            settings.credentials = Some(self.credentials(&spec.name, references)?);
        }
        settings.tls = spec.tls.as_ref().map(|tls| tls_settings(&spec.name, tls)).transpose()?;
        Client::new(settings).map_err(|error| Error::Settings {
            instance: spec.name.clone(),
            code: code_of(&error),
            reason: error.to_string(),
        })
    }

    /// Forgets the clients of an instance after a failure that another secret or certificate may end, so that the next
    /// ones resolve and read them anew: they may have been rotated where they are kept. Whoever holds one keeps it.
    pub fn forget_refused(&self, name: &Name, failure: ErrorCode) {
        if matches!(failure, ErrorCode::InstanceDenied | ErrorCode::TlsFailed) {
            self.lock().retain(|cached| cached.instance != *name);
        }
    }

    /// Forgets the clients of instances that were changed or removed. Whoever holds one keeps it; its connections end
    /// with the last holder.
    pub fn keep_current(&self, view: &State) {
        let version = |name: &Name| view.instances.get(name).map(|instance| instance.version);
        self.lock().retain(|cached| version(&cached.instance) == Some(cached.version));
    }

    /// Ends the connections of all clients, after the answers of sends under way.
    pub async fn close(&self) {
        let clients = std::mem::take(&mut *self.lock());
        futures::future::join_all(clients.iter().map(|cached| cached.client.close())).await;
    }

    fn credentials(&self, instance: &Name, references: &CredentialReferences) -> Result<Credentials, Error> {
        let reveal = |reference| {
            self.secrets.reveal(reference).map_err(|source| Error::Secret { instance: instance.clone(), source })
        };
        let access_key = reveal(&references.access_key)?;
        let secret = reveal(&references.secret)?;
        let token = references.security_token.as_ref().map(reveal).transpose()?;
        Credentials::new(&access_key, &secret, token.as_ref().map(|token| token.as_str())).map_err(|error| {
            Error::Settings {
                instance: instance.clone(),
                reason: error.to_string(),
                code: ErrorCode::SecretUnavailable,
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Cached>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tls_settings(instance: &Name, tls: &TlsSpec) -> Result<TlsSettings, Error> {
    let client_certificate = match (&tls.certificate_file, &tls.key_file) {
        (Some(chain), Some(key)) => Some(ClientCertificate { chain: PathBuf::from(chain), key: PathBuf::from(key) }),
        (None, None) => None,
        _ => {
            return Err(Error::Settings {
                instance: instance.clone(),
                reason: "a client certificate needs both its file and its key's file".to_owned(),
                code: ErrorCode::InvalidRequest,
            });
        }
    };
    Ok(TlsSettings {
        trust: Trust::AuthorityFile(PathBuf::from(&tls.certificate_authority_file)),
        client_certificate,
        server_name: tls.server_name.clone(),
    })
}

/// The stable code of a client's failure.
#[must_use]
pub fn code_of(error: &causeway_rocketmq::Error) -> ErrorCode {
    use causeway_rocketmq::Error as Failure;
    match error {
        Failure::Settings(_) => ErrorCode::InvalidRequest,
        Failure::Tls { .. } => ErrorCode::TlsFailed,
        // A slave answers, but what is wanted is only at its master, which does not.
        Failure::Unreachable { .. }
        | Failure::ConnectionLost { .. }
        | Failure::BrokerMissing { .. }
        | Failure::SlaveCannotServe { .. }
        | Failure::SlaveRefuses { .. }
        | Failure::SlaveUnreadable { .. } => ErrorCode::Unreachable,
        Failure::Timeout { .. } => ErrorCode::TimedOut,
        Failure::Malformed { .. } => ErrorCode::Malformed,
        Failure::TopicMissing { .. } => ErrorCode::TopicMissing,
        Failure::Unsupported { .. } => ErrorCode::Unsupported,
        Failure::Overloaded { .. } => ErrorCode::Busy,
        Failure::Refused { class, .. } => match class {
            Class::Authentication | Class::NoPermission => ErrorCode::InstanceDenied,
            Class::TopicMissing => ErrorCode::TopicMissing,
            Class::Busy => ErrorCode::Busy,
            Class::Unavailable => ErrorCode::Unreachable,
            Class::NotSupported => ErrorCode::Unsupported,
            _ => ErrorCode::InstanceRefused,
        },
        _ => ErrorCode::InstanceRefused,
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::command::Command;
    use causeway_core::ids::InstanceIdentity;
    use causeway_core::instance::SecretReference;

    use super::*;
    use crate::supervisor::testing::{Replica, instance, name};

    fn instances(state: State) -> (tempfile::TempDir, watch::Sender<Arc<State>>, Instances) {
        let directory = tempfile::tempdir().unwrap();
        let secrets = Arc::new(SecretStore::open(directory.path()).unwrap());
        let config = crate::config::NodeConfig::with_data_directory(directory.path()).unwrap();
        let (sender, view) = watch::channel(Arc::new(state));
        (directory, sender, Instances::new(view, secrets, config.connection))
    }

    #[test]
    fn a_changed_instance_gets_another_client_and_an_unknown_one_none() {
        let mut replica = Replica::with_partitions(0);
        let (_directory, view, instances) = instances(replica.state.clone());
        assert!(instances.client(&name("qingdao")).is_ok());
        let versions = |instances: &Instances| instances.lock().iter().map(|cached| cached.version).collect::<Vec<_>>();
        let first = replica.state.instances[&name("qingdao")].version;
        assert_eq!(versions(&instances), [first]);

        replica.change_instance("qingdao");
        view.send_replace(Arc::new(replica.state.clone()));
        instances.keep_current(&replica.state);
        assert!(versions(&instances).is_empty());
        assert!(instances.client(&name("qingdao")).is_ok());
        assert_eq!(versions(&instances), [first + 1]);
        assert!(matches!(instances.client(&name("nowhere")), Err(Error::NoSuchInstance(_))));
    }

    #[test]
    fn refused_secrets_and_certificates_are_read_anew_and_an_outage_changes_nothing() {
        let (_directory, _view, instances) = instances(Replica::with_partitions(0).state);
        let (name, other) = (name("qingdao"), name("hohhot"));
        for (failure, kept) in [(ErrorCode::Unreachable, 2), (ErrorCode::InstanceDenied, 1), (ErrorCode::TlsFailed, 1)]
        {
            assert!(instances.client(&name).is_ok() && instances.client(&other).is_ok());
            instances.forget_refused(&name, failure);
            assert_eq!(instances.lock().len(), kept, "{failure}");
        }
    }

    #[test]
    fn an_instance_that_is_registered_again_never_gets_the_client_of_the_one_before() {
        let mut replica = Replica::with_partitions(0);
        let (_directory, view, instances) = instances(replica.state.clone());
        assert!(instances.client(&name("qingdao")).is_ok());
        replica.delete_stream();
        replica.apply(Command::DeleteInstance { name: name("qingdao") });
        let spec = InstanceSpec { name_servers: vec!["127.0.0.1:2".into()], ..instance("qingdao") };
        replica.apply(Command::PutInstance { spec, identity: InstanceIdentity(9), expected: None });
        // Nobody has reconciled yet.
        view.send_replace(Arc::new(replica.state.clone()));
        assert!(instances.client(&name("qingdao")).is_ok());
        let versions: Vec<_> = instances.lock().iter().map(|cached| cached.version).collect();
        assert_eq!(versions, [replica.state.instances[&name("qingdao")].version]);
        assert!(versions[0] > 1, "made anew");
    }

    #[test]
    fn a_missing_secret_is_named_and_never_shown() {
        let (_directory, _view, instances) = instances(State::default());
        let mut spec = instance("qingdao");
        spec.credentials = Some(CredentialReferences {
            access_key: SecretReference::File("/nowhere/access-key".into()),
            secret: SecretReference::File("/nowhere/secret".into()),
            security_token: None,
        });
        let Err(error) = instances.unregistered(&spec, ReadFrom::Master) else { panic!("made without credentials") };
        assert_eq!(error.code(), ErrorCode::SecretUnavailable);
        assert!(error.to_string().contains("/nowhere/access-key"), "{error}");
    }

    #[test]
    fn bad_addresses_are_refused_with_a_code() {
        let (_directory, _view, instances) = instances(State::default());
        let mut spec = instance("qingdao");
        spec.name_servers = vec!["no port".into()];
        let refused = instances.unregistered(&spec, ReadFrom::Master).map(drop);
        assert!(matches!(refused, Err(Error::Settings { code: ErrorCode::InvalidRequest, .. })));
    }
}
