//! One run of the sandbox, from start to verdict: regions, topic, node, stream, traffic, screen, and the end of each.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use causeway::shutdown::Signals;
use causeway_rocketmq::{Client, ClientSettings, Queue, TopicSettings};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::arguments::Arguments;
use crate::node::{ORDERS, SandboxNode};
use crate::region::Region;
use crate::report::Report;
use crate::screen::{Header, Live, Screen};
use crate::traffic::{Sent, produce};
use crate::verifier::{Verifier, follow};

const SOURCE: &str = "qingdao";
const TARGET: &str = "hohhot";

/// How long the last copies may take after the producer stopped.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// How often the screen is drawn.
const FRAME: Duration = Duration::from_secs(1);

/// How long the target's topic may take to appear.
const APPEAR_LIMIT: Duration = Duration::from_secs(30);

/// Runs the sandbox until its duration is over or Ctrl-C. A second Ctrl-C ends it without a verdict.
///
/// # Errors
/// A sentence that says what did not work. A verdict with differences is not an error but a report.
pub(crate) async fn run(arguments: &Arguments) -> Result<Report, String> {
    let mut signals = Signals::listen().map_err(|error| format!("signals cannot be listened to: {error}"))?;
    let (ask, asked) = watch::channel(false);
    let mut session = pin!(session(arguments, asked));
    tokio::select! {
        report = &mut session => return report,
        () = signals.asked() => {
            ask.send_replace(true);
        }
    }
    tokio::select! {
        report = &mut session => report,
        () = signals.asked_again() => Err("stopped at once, before the last copies were verified".to_owned()),
    }
}

/// The whole run; `asked` turns true when its traffic should end.
async fn session(arguments: &Arguments, asked: watch::Receiver<bool>) -> Result<Report, String> {
    // Dropped, and so removed, behind everything that uses it.
    let (folder, _temporary) = folder(arguments.keep.as_deref())?;
    let say = |text: &str| {
        if !arguments.json {
            println!("{text}");
        }
    };
    say("starting two RocketMQ regions ...");
    let source = Region::start(SOURCE, &folder.join(SOURCE)).await.map_err(|error| error.to_string())?;
    let target = Region::start(TARGET, &folder.join(TARGET)).await.map_err(|error| error.to_string())?;
    let source_client = client(&source)?;
    let queues = create_topic(&source_client, arguments.queues).await?;
    say("starting a Causeway node ...");
    let regions = [(SOURCE, source.name_server), (TARGET, target.name_server)];
    let node = SandboxNode::start(&folder, arguments.port, regions).await?;
    node.api().create_stream(SOURCE, TARGET).await?;
    let result = traffic(arguments, &node, &source, target, (source_client, queues), asked).await;
    let stopped = node.stop().await;
    source.stop().await;
    let report = result?;
    stopped?;
    Ok(report)
}

fn folder(keep: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>), String> {
    let failed = |error: std::io::Error| format!("no folder for the sandbox's files: {error}");
    match keep {
        Some(path) => {
            std::fs::create_dir(path).map_err(failed)?;
            Ok((path.to_owned(), None))
        }
        None => {
            let temporary = tempfile::Builder::new().prefix("causeway-sandbox-").tempdir().map_err(failed)?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}

fn client(region: &Region) -> Result<Client, String> {
    let mut settings = ClientSettings::new(vec![region.name_server.to_string()]);
    settings.consumer_group = "CID_RMQ_SYS_SANDBOX".to_owned();
    Client::new(settings).map_err(|error| error.to_string())
}

async fn create_topic(client: &Client, count: u32) -> Result<Vec<Queue>, String> {
    let created = client.create_topic(ORDERS, &TopicSettings::with_queues(count)).await;
    created.map_err(|error| format!("the topic cannot be created: {error}"))?;
    appear(client, count).await
}

/// Waits until the name server knows all queues of the topic.
async fn appear(client: &Client, count: u32) -> Result<Vec<Queue>, String> {
    let deadline = Instant::now() + APPEAR_LIMIT;
    loop {
        let route = client.refresh_route(ORDERS).await;
        if let Ok(route) = &route {
            let queues = route.writable_queues();
            if u32::try_from(queues.len()).is_ok_and(|found| found >= count) {
                return Ok(queues);
            }
        }
        if Instant::now() > deadline {
            return Err(format!("topic {ORDERS} did not appear: {route:?}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everything that runs while orders flow.
struct Flow {
    sent: Arc<Sent>,
    verifier: Arc<Verifier>,
    producing: JoinHandle<Result<(), String>>,
    stop_producing: watch::Sender<bool>,
    stop_following: watch::Sender<bool>,
    followers: Vec<JoinHandle<()>>,
}

async fn start_flow(arguments: &Arguments, target: &Region, from: (Client, Vec<Queue>)) -> Result<Flow, String> {
    let (stop_producing, producer_stop) = watch::channel(false);
    let (stop_following, follower_stop) = watch::channel(false);
    let sent = Arc::new(Sent::default());
    let verifier = Arc::new(Verifier::default());
    let producing = tokio::spawn(produce(from.0, from.1, arguments.rate, Arc::clone(&sent), producer_stop));
    let target_client = client(target)?;
    let queues = appear(&target_client, arguments.queues).await?;
    let followers = queues
        .into_iter()
        .map(|queue| tokio::spawn(follow(target_client.clone(), queue, Arc::clone(&verifier), follower_stop.clone())))
        .collect();
    Ok(Flow { sent, verifier, producing, stop_producing, stop_following, followers })
}

async fn traffic(
    arguments: &Arguments,
    node: &SandboxNode,
    source: &Region,
    mut target: Region,
    from: (Client, Vec<Queue>),
    mut asked: watch::Receiver<bool>,
) -> Result<Report, String> {
    let flow = start_flow(arguments, &target, from).await?;
    let api = node.api();
    let mut screen = (!arguments.json).then(|| {
        Screen::open(Header {
            regions: [
                (source.name.clone(), source.broker.to_string()),
                (target.name.clone(), target.broker.to_string()),
            ],
            rate: arguments.rate,
            queues: arguments.queues,
            address: api.address.clone(),
            token: api.token.clone(),
            token_file: node.token_file.display().to_string(),
        })
    });
    let started = Instant::now();
    let deadline = started + arguments.duration.unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
    let mut keys = keys();
    let mut target_restarts = 0;
    let mut note = String::new();
    let mut frame = tokio::time::interval(FRAME);
    loop {
        tokio::select! {
            _ = frame.tick() => {}
            () = tokio::time::sleep_until(deadline) => break,
            // The sender lives as long as the run; an error would end the traffic too.
            _ = asked.wait_for(|asked| *asked) => break,
            Some(()) = keys.recv() => {
                note = toggle(&mut target, &mut target_restarts).await?;
            }
        }
        if flow.producing.is_finished() {
            break;
        }
        if let Some(screen) = &mut screen {
            let stream = api.stream().await.unwrap_or_default();
            let verdict = flow.verifier.verdict();
            screen.draw(&Live { stream: stream.as_ref(), sent: flow.sent.total(), verdict: &verdict, note: &note });
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    target.start_broker().await.map_err(|error| error.to_string())?;
    let report = finish(flow, seconds, target_restarts).await;
    target.stop().await;
    report
}

/// Stops or starts the target's broker; answers what to tell the person.
async fn toggle(target: &mut Region, restarts: &mut u64) -> Result<String, String> {
    if target.broker_runs() {
        target.stop_broker().await;
        return Ok("The target's broker is stopped. Orders wait at the source; b and Enter starts it again.".to_owned());
    }
    target.start_broker().await.map_err(|error| error.to_string())?;
    *restarts += 1;
    Ok("The target's broker runs again. The node reads back what landed and goes on behind it.".to_owned())
}

/// Lines that a person types: `b`. Ends with its input; the thread ends with the process.
fn keys() -> mpsc::Receiver<()> {
    let (pressed, keys) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut line = String::new();
        while matches!(std::io::stdin().read_line(&mut line), Ok(count) if count > 0) {
            if line.trim().eq_ignore_ascii_case("b") && pressed.blocking_send(()).is_err() {
                return;
            }
            line.clear();
        }
        // Without input nobody presses anything; the channel stays open so that the loop does not spin on its end.
        std::thread::park();
        drop(pressed);
    });
    keys
}

/// Stops the producer, waits for the last copies, and judges.
async fn finish(flow: Flow, seconds: f64, target_restarts: u64) -> Result<Report, String> {
    flow.stop_producing.send_replace(true);
    flow.producing.await.map_err(|error| error.to_string())??;
    let sent = flow.sent.total();
    let deadline = Instant::now() + DRAIN_LIMIT;
    loop {
        let verdict = flow.verifier.verdict();
        let arrived = verdict.verified + verdict.out_of_order + verdict.missing;
        if arrived >= sent || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    flow.stop_following.send_replace(true);
    for follower in flow.followers {
        follower.await.map_err(|error| error.to_string())?;
    }
    let verdict = flow.verifier.close(&flow.sent.per_queue());
    Ok(Report { ok: verdict.is_clean() && verdict.verified == sent, seconds, sent, verdict, target_restarts })
}
