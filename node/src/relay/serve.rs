//! The side that relays: answers what owners in other regions ask.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_cluster::StreamServer;
use causeway_cluster::transport::Peer;
use causeway_cluster::transport::streams::{NotServed, StreamSender};
use causeway_core::codec;
use causeway_rules::tag::TagExpression;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::figures::Figures;
use super::follow::Following;
use super::packing::{Compression, Packer};
use super::settings::RelaySettings;
use super::wire::{Answer, Answered, Ask, BatchWriter, Follow, Place, Refusal, Wanted};
use crate::replicate::filter::Filter;
use crate::replicate::ports::{Queue as _, Read, Source};

/// Gives sources to whoever asks for them.
pub(crate) trait Origins: Send + Sync + 'static {
    /// What it gives.
    type Source: Source;

    /// The source at a place.
    fn open(&self, place: &Place) -> impl Future<Output = Result<Self::Source, Refusal>> + Send;
}

/// What becomes of a question.
enum Served<'a, S> {
    /// One message answers it.
    Answered(Bytes),
    /// A queue is followed.
    Following { source: S, follow: Follow, filter: Box<Filter>, _place: SemaphorePermit<'a> },
}

/// Relays sources to other nodes.
pub(crate) struct Server<O> {
    origins: O,
    /// Tells what this process read from what another one did.
    process: u128,
    places: Semaphore,
    figures: Arc<Figures>,
}

impl<O: Origins> Server<O> {
    pub(crate) fn new(origins: O, process: u128, settings: &RelaySettings, figures: Arc<Figures>) -> Self {
        let places = Semaphore::new(settings.served_streams.min(Semaphore::MAX_PERMITS));
        Self { origins, process, places, figures }
    }

    async fn answer(&self, opening: &[u8], mut sender: StreamSender) {
        let message = match self.ask(opening).await {
            Ok(Served::Following { source, follow, filter, _place }) => {
                let (packer, figures) = (Packer::new(follow.compression), Arc::clone(&self.figures));
                let (process, _served) = (self.process, self.figures.serves());
                return Following { source, follow, filter, process, sender, packer, figures }.run().await;
            }
            Ok(Served::Answered(message)) => message,
            Err(refusal) => Answer::Refused(refusal).short(),
        };
        // Whoever asked may be gone.
        let _ = sender.send(message).await;
    }

    async fn ask(&self, opening: &[u8]) -> Result<Served<'_, O::Source>, Refusal> {
        let ask: Ask = codec::decode(opening).map_err(|_| Refusal::NotUnderstood)?;
        let place = self.places.try_acquire().map_err(|_| Refusal::Busy)?;
        let source = self.origins.open(&ask.place).await?;
        if ask.leave_slave {
            source.leave_slave();
        }
        let answered = match ask.wanted {
            Wanted::Follow(follow) => {
                let tags = TagExpression::parse(&follow.tag_expression).map_err(|_| Refusal::NotUnderstood)?;
                let filter = Box::new(Filter::new(tags, follow.target));
                return Ok(Served::Following { source, follow, filter, _place: place });
            }
            Wanted::Look { offset, maximum_messages } => {
                source.read(offset, maximum_messages.max(1), Duration::ZERO).await.map(|read| self.raw(&read))
            }
            Wanted::Bounds => source.bounds().await.map(|bounds| Answer::Bounds(bounds).short()),
            Wanted::OffsetAt(time) => source.offset_at(time).await.map(|offset| Answer::Offset(offset).short()),
        };
        Ok(Served::Answered(answered.unwrap_or_else(|trouble| Answer::Trouble(trouble).short())))
    }

    /// A read as it is.
    fn raw(&self, read: &Read) -> Bytes {
        let answered = Answered { process: self.process, connection: read.connection, from_slave: read.from_slave };
        let mut writer = BatchWriter::new();
        match read.records.iter().try_for_each(|record| writer.add(record)) {
            Ok(()) => writer.finish(answered, read.bounds, Compression::Off).0,
            Err(unsendable) => Answer::Trouble(unsendable.into()).short(),
        }
    }
}

impl<O: Origins> StreamServer for Server<O> {
    fn serve(
        &self,
        _from: Arc<Peer>,
        opening: Bytes,
        sender: StreamSender,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotServed>> + Send + '_>> {
        Box::pin(async move {
            self.answer(&opening, sender).await;
            Ok(())
        })
    }
}
