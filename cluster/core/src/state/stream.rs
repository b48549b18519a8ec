//! Streams: created, paused, resumed, deleted. A change of one stream never touches another.

use super::{Entry, State, later};
use crate::ids::{Generation, RuleVersion, StreamId, Timestamp};
use crate::name::Name;
use crate::outcome::{Outcome, Refusal};
use crate::stream::{DesiredState, Stream, StreamSpec};

impl State {
    pub(super) fn create_stream(&mut self, spec: &StreamSpec, entry: Entry) -> Result<Outcome, Refusal> {
        if self.streams.contains_key(&spec.name) {
            return Err(Refusal::StreamExists(spec.name.clone()));
        }
        for endpoint in [&spec.source, &spec.target] {
            if !self.instances.contains_key(&endpoint.instance) {
                return Err(Refusal::NoSuchInstance(endpoint.instance.clone()));
            }
        }
        if spec.source == spec.target {
            return Err(Refusal::SameTopic);
        }
        if entry.version >= 2 {
            let ends = (&spec.source, &spec.target);
            let twins = self.streams.values().filter(|other| (&other.spec.source, &other.spec.target) == ends);
            if let Some(twin) = twins.map(|other| &other.spec).find(|other| other.shares_a_tag_with(spec)) {
                return Err(Refusal::CopiedAlready(twin.name.clone()));
            }
        }
        let id = StreamId(entry.index);
        let stream = Stream {
            id,
            spec: spec.clone(),
            generation: Generation::default(),
            rule_version: RuleVersion::default(),
            desired: DesiredState::Running,
            version: entry.first_version(),
            created_at: entry.at,
            changed_at: entry.at,
        };
        self.streams.insert(spec.name.clone(), stream);
        Ok(Outcome::StreamCreated(id))
    }

    pub(super) fn pause_stream(&mut self, name: &Name, at: Timestamp) -> Result<Outcome, Refusal> {
        self.set_desired(name, DesiredState::Paused, at)
    }

    pub(super) fn resume_stream(&mut self, name: &Name, at: Timestamp) -> Result<Outcome, Refusal> {
        self.set_desired(name, DesiredState::Running, at)
    }

    fn set_desired(&mut self, name: &Name, desired: DesiredState, at: Timestamp) -> Result<Outcome, Refusal> {
        let stream = self.streams.get_mut(name).ok_or_else(|| Refusal::NoSuchStream(name.clone()))?;
        if stream.desired != desired {
            stream.desired = desired;
            stream.version = stream.version.saturating_add(1);
            stream.changed_at = later(stream.changed_at, at);
        }
        Ok(Outcome::Changed(stream.version))
    }

    pub(super) fn delete_stream(&mut self, name: &Name) -> Result<Outcome, Refusal> {
        let stream = self.streams.remove(name).ok_or_else(|| Refusal::NoSuchStream(name.clone()))?;
        self.partitions.retain(|partition, _| partition.stream != stream.id);
        Ok(Outcome::Done)
    }
}
