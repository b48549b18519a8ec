//! Instances: registered, changed, removed.

use super::{Entry, State, expect_version};
use crate::ids::InstanceIdentity;
use crate::instance::{Instance, InstanceSpec};
use crate::name::Name;
use crate::outcome::{Outcome, Refusal};

impl State {
    pub(super) fn put_instance(
        &mut self,
        spec: &InstanceSpec,
        identity: InstanceIdentity,
        expected: Option<u64>,
        entry: Entry,
    ) -> Result<Outcome, Refusal> {
        let version = match (self.instances.get_mut(&spec.name), expected) {
            (Some(_), None) => return Err(Refusal::InstanceExists(spec.name.clone())),
            (None, Some(_)) => return Err(Refusal::NoSuchInstance(spec.name.clone())),
            (Some(instance), Some(expected)) => {
                expect_version(expected, instance.version)?;
                instance.spec = spec.clone();
                instance.version = instance.version.saturating_add(1);
                instance.version
            }
            (None, None) => {
                if entry.version >= 2 {
                    self.expect_new_identity(identity)?;
                }
                let version = entry.first_version();
                let instance = Instance { spec: spec.clone(), identity, version, created_at: entry.at };
                self.instances.insert(spec.name.clone(), instance);
                version
            }
        };
        Ok(Outcome::Changed(version))
    }

    /// Loops are recognised by identities: with one for two instances, copies of one look like the other's.
    fn expect_new_identity(&self, identity: InstanceIdentity) -> Result<(), Refusal> {
        match self.instances.values().find(|instance| instance.identity == identity) {
            Some(other) => Err(Refusal::IdentityTaken(other.spec.name.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn delete_instance(&mut self, name: &Name) -> Result<Outcome, Refusal> {
        let user = self
            .streams
            .values()
            .find(|stream| stream.spec.source.instance == *name || stream.spec.target.instance == *name);
        if let Some(stream) = user {
            return Err(Refusal::InstanceInUse { instance: name.clone(), stream: stream.spec.name.clone() });
        }
        match self.instances.remove(name) {
            Some(_) => Ok(Outcome::Done),
            None => Err(Refusal::NoSuchInstance(name.clone())),
        }
    }
}
