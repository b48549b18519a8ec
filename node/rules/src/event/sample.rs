//! A message for tests.

use std::borrow::Cow;
use std::cell::Cell;

use super::{BodyError, Message};

/// A message that is what a test says, and counts the looks at its body.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) properties: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Result<Vec<u8>, BodyError>,
    pub(crate) compressed: bool,
    pub(crate) bodies_read: Cell<usize>,
}

impl Sample {
    pub(crate) fn new(properties: &[(&str, &str)], body: &[u8]) -> Self {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Self {
            properties: properties.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            body: Ok(body.to_vec()),
            compressed: false,
            bodies_read: Cell::new(0),
        }
    }

    /// With a body that cannot be read.
    pub(crate) fn broken(properties: &[(&str, &str)]) -> Self {
        Self { body: Err(BodyError("broken".to_owned())), ..Self::new(properties, b"") }
    }
}

impl Message for Sample {
    fn offset_id(&self) -> Cow<'_, str> {
        Cow::Borrowed("0A000001000029040000000000000029")
    }

    fn born_time(&self) -> i64 {
        1_617_861_680_766
    }

    fn store_time(&self) -> i64 {
        1_617_861_680_925
    }

    fn queue_id(&self) -> i32 {
        3
    }

    fn queue_offset(&self) -> i64 {
        41
    }

    fn properties(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.properties.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    fn body(&self) -> Result<Cow<'_, [u8]>, BodyError> {
        self.bodies_read.set(self.bodies_read.get() + 1);
        let body = self.body.as_deref().map_err(Clone::clone)?;
        Ok(if self.compressed { Cow::Owned(body.to_owned()) } else { Cow::Borrowed(body) })
    }
}
