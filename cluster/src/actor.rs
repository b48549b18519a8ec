//! The actor that owns the replica, on a thread of its own, because the disk barrier blocks.
//!
//! Proposals and messages that arrive while a turn runs wait in the mailbox. The next turn takes all of them together
//! and makes what follows durable with one barrier: the slower the disk, the larger the batch.
//!
//! actix neither restarts an actor that panicked nor tells anybody, so every call into the replica is guarded here:
//! what it answers or throws becomes the reason that [`crate::Handle::ended`] reports.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::raft::eraftpb;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use causeway_core::ids::NodeId;
use causeway_core::state::State;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use crate::error::{Error, Fatal};
use crate::raft::membership::ChangeMember;
use crate::raft::outbox::Outbox;
use crate::raft::reads::Read;
use crate::raft::replica::{Proposal, Replica};
use crate::raft::settings::Settings;
use crate::raft::transfer::Transfer;
use crate::status::RaftStatus;

/// What the replica is asked for. Answers come through the channel that each call brings along.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum Call {
    /// Put a command into the log.
    Propose(Proposal),
    /// Look at a message of another member; its room is free again afterwards.
    Step(Box<eraftpb::Message>, OwnedSemaphorePermit),
    /// Tell when the view is current.
    Read(Read),
    /// Change a member.
    Change(ChangeMember),
    /// Hand over leadership.
    Transfer(Transfer),
    /// The way to a member is broken.
    Unreachable(NodeId),
    /// A snapshot reached a member, or did not.
    SnapshotSent(NodeId, bool),
}

/// Finishes what is in the mailbox before it, then ends.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

/// What arrived since the last turn is due.
#[derive(Message)]
#[rtype(result = "()")]
struct Turn;

/// What a running replica offers to its [`crate::Handle`]s.
pub(crate) struct Running {
    pub(crate) address: Addr<RaftActor>,
    pub(crate) view: watch::Receiver<Arc<State>>,
    pub(crate) status: watch::Receiver<RaftStatus>,
    pub(crate) only_voter: bool,
}

/// Why a replica ended; none while it runs.
pub(crate) type Ended = watch::Receiver<Option<Error>>;

/// Owns the replica.
pub(crate) struct RaftActor {
    replica: Option<Replica>,
    settings: Settings,
    /// What the next turn begins with. Not empty exactly while a turn is due.
    arrived: Vec<Call>,
    view: watch::Sender<Arc<State>>,
    status: watch::Sender<RaftStatus>,
    ended: Option<oneshot::Sender<Error>>,
}

impl RaftActor {
    /// Calls into the replica and shares what came of it. After a failure the replica is gone and the actor ends.
    pub(crate) fn guard(&mut self, context: &mut Context<Self>, call: impl FnOnce(&mut Replica) -> Result<(), Fatal>) {
        let Some(mut replica) = self.replica.take() else { return };
        let called = catch_unwind(AssertUnwindSafe(|| {
            call(&mut replica)?;
            Ok(replica.take_view())
        }));
        match called.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
            Ok(view) => {
                if let Some(view) = view {
                    self.view.send_replace(view);
                }
                self.status.send_replace(replica.status());
                replica.answer();
                self.replica = Some(replica);
            }
            Err(fatal) => {
                tracing::error!(error = %fatal, "the replica ended");
                self.end(context, replica, fatal.into());
            }
        }
    }

    fn end(&mut self, context: &mut Context<Self>, mut replica: Replica, reason: Error) {
        let waiting = if matches!(reason, Error::Stopped) { Error::Interrupted } else { reason.clone() };
        replica.fail_all(&waiting);
        let reason = set_aside_if_damaged(replica, reason);
        if let Some(ended) = self.ended.take() {
            // Nobody listens only when the thread itself is gone.
            let _ = ended.send(reason);
        }
        context.stop();
    }

    fn turn(&mut self, context: &mut Context<Self>) {
        let arrived = std::mem::take(&mut self.arrived);
        self.guard(context, |replica| {
            for call in arrived {
                match call {
                    Call::Propose(proposal) => replica.propose(proposal),
                    Call::Step(message, _room) => replica.step(*message)?,
                    Call::Read(read) => replica.read(read),
                    Call::Change(change) => replica.change_member(change),
                    Call::Transfer(transfer) => replica.transfer_leader(transfer),
                    Call::Unreachable(node) => replica.unreachable(node),
                    Call::SnapshotSent(node, arrived) => replica.snapshot_sent(node, arrived),
                }
            }
            replica.turn()
        });
    }

    fn stop(&mut self, context: &mut Context<Self>) {
        self.turn(context);
        if let Some(replica) = self.replica.take() {
            self.end(context, replica, Error::Stopped);
        }
    }
}

/// Closes the data directory. One that is damaged must not be opened again: the node would vote without knowing what it
/// promised.
fn set_aside_if_damaged(replica: Replica, reason: Error) -> Error {
    if let Error::Fatal(fatal) = &reason
        && let Fatal::Storage(error) = fatal.as_ref()
        && error.is_damage()
    {
        return replica.quarantine(&error.to_string()).into();
    }
    reason
}

impl Actor for RaftActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.settings.mailbox_length());
        // Shows what the first turn found.
        self.guard(context, |_| Ok(()));
        context.run_interval(self.settings.tick, |actor, context| {
            if context.connected() {
                actor.guard(context, Replica::tick);
            } else {
                // Every handle is gone, so nobody can ever stop it.
                actor.stop(context);
            }
        });
    }
}

impl Handler<Call> for RaftActor {
    type Result = ();

    fn handle(&mut self, call: Call, context: &mut Self::Context) {
        if self.arrived.is_empty() {
            context.notify(Turn);
        }
        self.arrived.push(call);
    }
}

impl Handler<Turn> for RaftActor {
    type Result = ();

    fn handle(&mut self, _: Turn, context: &mut Self::Context) {
        self.turn(context);
    }
}

impl Handler<Stop> for RaftActor {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        self.stop(context);
    }
}

/// Starts the thread. The first channel answers once the data directory is open, the second when everything is closed.
pub(crate) fn spawn(
    settings: Settings,
    outbox: Box<dyn Outbox>,
) -> Result<(oneshot::Receiver<Result<Running, Error>>, Ended), Error> {
    let (opened, when_opened) = oneshot::channel();
    let (ended, when_ended) = watch::channel(None);
    std::thread::Builder::new()
        .name("raft".to_owned())
        .spawn(move || {
            let reason = run(settings, outbox, opened);
            ended.send_replace(Some(reason));
        })
        .map_err(|error| Error::from(Fatal::Thread(error)))?;
    Ok((when_opened, when_ended))
}

/// The thread: opens the replica, runs the actor until it ends, closes everything, answers why it ended.
fn run(settings: Settings, outbox: Box<dyn Outbox>, opened: oneshot::Sender<Result<Running, Error>>) -> Error {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(opened, Fatal::Thread(error)),
    };
    // The stored log may hold changes of members: who votes is known when it is applied.
    let open = || {
        let mut replica = Replica::open(&settings, outbox)?;
        replica.begin()?;
        Ok(replica)
    };
    let mut replica = match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(replica)) => replica,
        Ok(Err(fatal)) => return refuse(opened, fatal),
        Err(panic) => return refuse(opened, panicked(panic.as_ref())),
    };
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let only_voter = replica.is_only_voter();
        // What the first turn found, together with the status that tells of it.
        let first = replica.take_view().unwrap_or_default();
        let (view, views) = watch::channel(first);
        let (status, statuses) = watch::channel(replica.status());
        let (ended, when_ended) = oneshot::channel();
        let actor =
            RaftActor { replica: Some(replica), settings, arrived: Vec::new(), view, status, ended: Some(ended) };
        let address = actor.start();
        // A caller that no longer waits drops the only address, which ends the actor.
        let _ = opened.send(Ok(Running { address, view: views, status: statuses, only_voter }));
        when_ended
            .await
            .unwrap_or_else(|_| Fatal::Panicked { reason: "the actor ended without a reason".to_owned() }.into())
    })
}

fn refuse(opened: oneshot::Sender<Result<Running, Error>>, fatal: Fatal) -> Error {
    let error = Error::from(fatal);
    let _ = opened.send(Err(error.clone()));
    error
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Fatal {
    let reason = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()))
        .unwrap_or_else(|| "without a reason".to_owned());
    Fatal::Panicked { reason }
}
